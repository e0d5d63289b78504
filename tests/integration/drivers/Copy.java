import java.io.InputStream;
import java.io.OutputStream;
import java.sql.Connection;
import java.sql.DriverManager;
import java.util.Arrays;
import java.util.zip.CRC32;
import org.postgresql.PGConnection;

/** COPY in both directions with the JDBC driver, and statements in between. Arguments: URL, password, MiB. */
public class Copy {
  private static final int ROW = 1024; // with the line feed
  private static final int ROWS_OF_A_STATEMENT = 4096;

  public static void main(String[] arguments) throws Exception {
    int rows = Integer.parseInt(arguments[2]) * 1024;
    try (var connection = DriverManager.getConnection(arguments[0], "app", arguments[1])) {
      var copies = connection.unwrap(PGConnection.class).getCopyAPI();

      var received = new CRC32();
      long[] bytes = {0};
      String question = "COPY (SELECT lpad(i::text, " + (ROW - 1) + ", 'x') FROM generate_series(1, " + rows + ") i)";
      copies.copyOut(question + " TO STDOUT", new OutputStream() {
        @Override
        public void write(int octet) {
          received.update(octet);
          bytes[0]++;
        }

        @Override
        public void write(byte[] octets, int start, int size) {
          received.update(octets, start, size);
          bytes[0] += size;
        }
      });
      var expected = new CRC32();
      for (int i = 1; i <= rows; i++) expected.update(row(i));
      System.out.println("download " + bytes[0] + " " + (received.getValue() == expected.getValue()));

      ask(connection);
      ask(connection, "CREATE TEMP TABLE uploaded (line text)");
      for (int first = 1; first <= rows; first += ROWS_OF_A_STATEMENT) {
        int last = Math.min(rows, first + ROWS_OF_A_STATEMENT - 1);
        copies.copyIn("COPY uploaded FROM STDIN", new Rows(first, last), 1 << 16);
      }
      String check = "SELECT count(*) = " + rows + " AND bool_and(line = lpad(n::text, " + (ROW - 1) + ", 'x'))"
          + " FROM (SELECT line, ltrim(line, 'x')::int AS n FROM uploaded) AS of_all"
          + " HAVING count(DISTINCT n) = " + rows;
      System.out.println("upload " + ask(connection, check));
      ask(connection);
      System.out.println("statements");
    }
  }

  /** Many small statements, then answers of some records. */
  private static void ask(Connection connection) throws Exception {
    for (int i = 0; i < 100; i++) {
      if (!ask(connection, "SELECT " + i).equals("" + i)) throw new IllegalStateException("another answer");
    }
    for (int i = 0; i < 20; i++) {
      if (ask(connection, "SELECT repeat('x', 100000)").length() != 100000)
        throw new IllegalStateException("another answer");
    }
  }

  private static String ask(Connection connection, String sql) throws Exception {
    try (var statement = connection.createStatement()) {
      if (!statement.execute(sql)) return "";
      try (var rows = statement.getResultSet()) {
        return rows.next() ? rows.getString(1) : "nothing";
      }
    }
  }

  private static byte[] row(int number) {
    byte[] row = new byte[ROW];
    Arrays.fill(row, (byte) 'x');
    row[ROW - 1] = '\n';
    byte[] digits = Integer.toString(number).getBytes();
    System.arraycopy(digits, 0, row, ROW - 1 - digits.length, digits.length);
    return row;
  }

  /** The rows of these numbers. */
  private static class Rows extends InputStream {
    private final int last;
    private int next;
    private byte[] row = {};
    private int taken = 0;

    Rows(int first, int last) {
      this.next = first;
      this.last = last;
    }

    @Override
    public int read() {
      byte[] one = new byte[1];
      return read(one, 0, 1) < 0 ? -1 : one[0];
    }

    @Override
    public int read(byte[] into, int start, int size) {
      if (taken == row.length) {
        if (next > last) return -1;
        row = row(next++);
        taken = 0;
      }
      int part = Math.min(size, row.length - taken);
      System.arraycopy(row, taken, into, start, part);
      taken += part;
      return part;
    }
  }
}
