import java.sql.DriverManager;

/** Asks pgveil's admin database with the JDBC driver. Argument: URL. Writes what it has read. */
public class AdminDatabase {
  public static void main(String[] arguments) throws Exception {
    try (var connection = DriverManager.getConnection(arguments[0]);
        var stats = connection.prepareStatement("SHOW STATS");
        var sessions = connection.createStatement()) {
      for (int i = 0; i < 10; i++) {
        try (var rows = stats.executeQuery()) {
          rows.next();
          System.out.println("logins_accepted " + rows.getLong("logins_accepted"));
        }
        try (var rows = sessions.executeQuery("SHOW SESSIONS")) {
          rows.next();
          if (rows.getDouble("age_seconds") < 0 || !rows.getString("user").equals("operator")) throw new AssertionError();
        }
      }
    }
  }
}
