// A TLS tunnel with Go's crypto/tls; see harness/tls_peers.py. It answers a KeyUpdate and has no way to send one.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	isServer := os.Args[1] == "server"
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	check(err)
	fmt.Fprintf(os.Stderr, "port %d\n", listener.Addr().(*net.TCPAddr).Port)
	accepted, err := listener.Accept()
	check(err)
	target, err := net.Dial("tcp4", "127.0.0.1:"+os.Args[2])
	check(err)

	settings := &tls.Config{MinVersion: tls.VersionTLS13, ServerName: "localhost"}
	request := []byte{0, 0, 0, 8, 4, 210, 22, 47}
	plain := accepted
	var stream *tls.Conn
	if isServer {
		plain = target
		certificate, err := tls.LoadX509KeyPair(os.Args[3], os.Args[4])
		check(err)
		settings.Certificates = []tls.Certificate{certificate}
		_, err = io.ReadFull(accepted, request)
		check(err)
		_, err = accepted.Write([]byte("S"))
		check(err)
		stream = tls.Server(accepted, settings)
	} else {
		pem, err := os.ReadFile(os.Args[5])
		check(err)
		settings.RootCAs = x509.NewCertPool()
		settings.RootCAs.AppendCertsFromPEM(pem)
		_, err = target.Write(request)
		check(err)
		_, err = io.ReadFull(target, request[:1])
		check(err)
		stream = tls.Client(target, settings)
	}
	check(stream.Handshake())

	ended := make(chan error, 2)
	move := func(to io.Writer, from io.Reader) {
		_, err := io.Copy(to, from)
		ended <- err
	}
	go move(stream, plain)
	go move(plain, stream)
	err = <-ended
	stream.Close()
	plain.Close()
	if err != nil && !errors.Is(err, net.ErrClosed) {
		check(err)
	}
	fmt.Fprintf(os.Stderr, "version=TLSv1.%d sent=-1 received=-1\n", stream.ConnectionState().Version-tls.VersionTLS10)
}
