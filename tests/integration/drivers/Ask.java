import java.sql.DriverManager;

/** Logs in with the JDBC driver and asks one question. Arguments: URL, password. */
public class Ask {
  public static void main(String[] arguments) throws Exception {
    try (var connection = DriverManager.getConnection(arguments[0], "app", arguments[1]);
        var question = connection.prepareStatement("SELECT current_user, ?::int")) {
      question.setInt(1, 7);
      try (var rows = question.executeQuery()) {
        rows.next();
        System.out.println(rows.getString(1) + " " + rows.getInt(2));
      }
    }
  }
}
