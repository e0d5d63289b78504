#!/usr/bin/env escript
%% A TLS tunnel with Erlang's ssl; see harness/tls_peers.py.

main([Role, TargetPort, Certificate, Key, Authority, RekeyOctets]) ->
    IsServer = Role =:= "server",
    {ok, _} = application:ensure_all_started(ssl),
    Raw = [binary, {active, false}, {packet, raw}, {nodelay, true}],
    {ok, Listener} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}} | Raw]),
    {ok, Port} = inet:port(Listener),
    io:format(standard_error, "port ~b~n", [Port]),
    {ok, Accepted} = gen_tcp:accept(Listener),
    {ok, Target} = gen_tcp:connect({127, 0, 0, 1}, list_to_integer(TargetPort), Raw),
    {Socket, Plain} = case IsServer of true -> {Accepted, Target}; false -> {Target, Accepted} end,
    agree_on_tls(Socket, IsServer),
    Settings = [{versions, ['tlsv1.3']}, {active, false}, {mode, binary} | rekey(list_to_integer(RekeyOctets))],
    {ok, Tls} =
        case IsServer of
            true -> ssl:handshake(Socket, [{certfile, Certificate}, {keyfile, Key} | Settings], 20000);
            false -> ssl:connect(Socket, [{cacertfile, Authority}, {verify, verify_peer},
                                          {server_name_indication, "localhost"} | Settings], 20000)
        end,
    {ok, [{protocol, Version}]} = ssl:connection_information(Tls, [protocol]),
    Main = self(),
    spawn_link(fun() -> copy(fun() -> gen_tcp:recv(Plain, 0) end, fun(B) -> ssl:send(Tls, B) end, Main) end),
    spawn_link(fun() -> copy(fun() -> ssl:recv(Tls, 0) end, fun(B) -> gen_tcp:send(Plain, B) end, Main) end),
    Reason = receive {ended, Why} -> Why end,
    ssl:close(Tls),
    gen_tcp:close(Plain),
    case Reason of
        closed -> io:format(standard_error, "version=~s sent=-1 received=-1~n", [Version]);
        _ -> io:format(standard_error, "~p~n", [Reason]), halt(1)
    end.

%% Its own key, after so many octets; and its peer's when it answers.
rekey(0) -> [];
rekey(Octets) -> [{key_update_at, Octets}].

agree_on_tls(Socket, true) ->
    {ok, <<0, 0, 0, 8, 4, 210, 22, 47>>} = gen_tcp:recv(Socket, 8),
    ok = gen_tcp:send(Socket, <<"S">>);
agree_on_tls(Socket, false) ->
    ok = gen_tcp:send(Socket, <<0, 0, 0, 8, 4, 210, 22, 47>>),
    {ok, <<"S">>} = gen_tcp:recv(Socket, 1).

copy(Read, Write, Main) ->
    case Read() of
        {ok, Bytes} ->
            case Write(Bytes) of
                ok -> copy(Read, Write, Main);
                {error, Why} -> Main ! {ended, Why}
            end;
        {error, Why} -> Main ! {ended, Why}
    end.
