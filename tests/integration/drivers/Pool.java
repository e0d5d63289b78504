import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import org.postgresql.ds.PGSimpleDataSource;

/**
 * Threads that run one short transaction after the other with connections of a HikariCP pool, until a file exists. Arguments:
 * URL, password, connections of the pool, threads, the file that ends it, the file for the numbers of the transactions that were
 * committed. Writes a line for each transaction that failed and for each connection that the pool did not get.
 */
public class Pool {
  private static final Queue<String> committed = new ConcurrentLinkedQueue<>();

  public static void main(String[] arguments) throws Exception {
    int connections = Integer.parseInt(arguments[2]);
    Path end = Path.of(arguments[4]);
    try (var pool = pool(arguments[0], arguments[1], connections)) {
      // The pool connects in the background. Such a connection that pgveil ends would count as one that the pool did not get.
      while (pool.getHikariPoolMXBean().getTotalConnections() < connections) Thread.sleep(10);
      var threads = new ArrayList<Thread>();
      for (int i = 0; i < Integer.parseInt(arguments[3]); i++) {
        int number = i;
        threads.add(new Thread(() -> work(pool, number, end)));
      }
      for (var thread : threads) thread.start();
      for (var thread : threads) thread.join();
    }
    Files.write(Path.of(arguments[5]), committed);
  }

  private static HikariDataSource pool(String url, String password, int connections) {
    var server = new PGSimpleDataSource() {
      @Override
      public Connection getConnection() throws SQLException {
        try {
          return super.getConnection();
        } catch (SQLException error) {
          System.err.println("refused " + error.getSQLState() + " " + error.getMessage());
          throw error;
        }
      }
    };
    server.setURL(url);
    server.setUser("app");
    server.setPassword(password);
    var config = new HikariConfig();
    config.setDataSource(server);
    config.setMaximumPoolSize(connections);
    config.setAutoCommit(false);
    return new HikariDataSource(config);
  }

  private static void work(HikariDataSource pool, int thread, Path end) {
    for (int number = 0; !Files.exists(end); number++) {
      String step = "connect";
      try (var connection = pool.getConnection()) {
        step = "first";
        run(connection, "INSERT INTO pooled VALUES (?, ?)", thread, number);
        step = "second";
        run(connection, "UPDATE pool_counters SET n = n + 1 WHERE thread = ?", thread);
        step = "commit";
        connection.commit();
        committed.add(thread + "|" + number);
        step = "close";
      } catch (SQLException error) {
        System.err.println("failed " + step + " " + error.getSQLState() + " " + error.getMessage());
      }
    }
  }

  private static void run(Connection connection, String sql, int... values) throws SQLException {
    try (var statement = connection.prepareStatement(sql)) {
      for (int i = 0; i < values.length; i++) statement.setInt(i + 1, values[i]);
      statement.executeUpdate();
    }
  }
}
