import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManagerFactory;

/** A TLS tunnel with JSSE; see harness/tls_peers.py. It has keys replaced by the property jdk.tls.keyLimits. */
public class Tunnel {
  private static final byte[] SSL_REQUEST = {0, 0, 0, 8, 4, (byte) 210, 22, 47};

  public static void main(String[] arguments) throws Exception {
    boolean isServer = arguments[0].equals("server");
    Socket accepted;
    try (var listener = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      System.err.println("port " + listener.getLocalPort());
      accepted = listener.accept();
    }
    var target = new Socket(InetAddress.getLoopbackAddress(), Integer.parseInt(arguments[1]));
    Socket raw = isServer ? accepted : target;
    Socket plain = isServer ? target : accepted;
    if (isServer) {
      raw.getInputStream().readNBytes(SSL_REQUEST.length);
      raw.getOutputStream().write('S');
    } else {
      raw.getOutputStream().write(SSL_REQUEST);
      if (raw.getInputStream().read() != 'S') throw new IOException("no TLS");
    }
    var context = context(isServer, Path.of(arguments[2]), Path.of(arguments[3]), arguments[4]);
    var tls = (SSLSocket) context.getSocketFactory().createSocket(raw, "localhost", raw.getPort(), true);
    tls.setUseClientMode(!isServer);
    tls.setEnabledProtocols(new String[] {"TLSv1.3"});
    if (!isServer) {
      var parameters = tls.getSSLParameters();
      parameters.setEndpointIdentificationAlgorithm("HTTPS");
      tls.setSSLParameters(parameters);
    }
    tls.startHandshake();
    String[] failure = {null};
    var in = new Thread(() -> copy(tls, plain, failure));
    in.start();
    copy(plain, tls, failure);
    in.join();
    if (failure[0] != null) {
      System.err.println(failure[0]);
      System.exit(1);
    }
    System.err.println("version=" + tls.getSession().getProtocol() + " sent=-1 received=-1");
  }

  private static void copy(Socket from, Socket to, String[] failure) {
    var bytes = new byte[1 << 16];
    try {
      InputStream in = from.getInputStream();
      OutputStream out = to.getOutputStream();
      for (int count; (count = in.read(bytes)) > 0;) out.write(bytes, 0, count);
    } catch (IOException error) {
      // The regular end of one direction closes the sockets of the other.
      if (!from.isClosed() && !to.isClosed()) failure[0] = error.toString();
    }
    for (var socket : new Socket[] {to, from}) {
      try {
        socket.close();
      } catch (IOException error) {
        // The peer has gone before.
      }
    }
  }

  private static SSLContext context(boolean isServer, Path certificate, Path key, String authority) throws Exception {
    var context = SSLContext.getInstance("TLS");
    var store = KeyStore.getInstance("PKCS12");
    store.load(null, null);
    var factory = CertificateFactory.getInstance("X.509");
    if (isServer) {
      String pem = Files.readString(key, StandardCharsets.US_ASCII).replaceAll("-----[^-]*-----|\\s", "");
      var privateKey =
          KeyFactory.getInstance("EC").generatePrivate(new PKCS8EncodedKeySpec(Base64.getDecoder().decode(pem)));
      try (var file = new FileInputStream(certificate.toFile())) {
        var chain = factory.generateCertificates(file).toArray(new Certificate[0]);
        store.setKeyEntry("key", privateKey, new char[0], chain);
      }
      var keys = KeyManagerFactory.getInstance("PKIX");
      keys.init(store, new char[0]);
      context.init(keys.getKeyManagers(), null, null);
    } else {
      try (var file = new FileInputStream(authority)) {
        store.setCertificateEntry("authority", factory.generateCertificate(file));
      }
      var trust = TrustManagerFactory.getInstance("PKIX");
      trust.init(store);
      context.init(null, trust.getTrustManagers(), null);
    }
    return context;
  }
}
