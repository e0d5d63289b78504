// COPY in both directions with pgx, and statements in between. Arguments: URL, MiB.
package main

import (
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v4"
)

const rowsOfAStatement = 4096

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func row(number int) string {
	digits := strconv.Itoa(number)
	return strings.Repeat("x", 1023-len(digits)) + digits + "\n"
}

type received struct {
	sum  uint32
	size int
}

func (r *received) Write(bytes []byte) (int, error) {
	r.sum = crc32.Update(r.sum, crc32.IEEETable, bytes)
	r.size += len(bytes)
	return len(bytes), nil
}

func main() {
	background := context.Background()
	mebibytes, err := strconv.Atoi(os.Args[2])
	check(err)
	rows := mebibytes * 1024
	connection, err := pgx.Connect(background, os.Args[1])
	check(err)
	raw := connection.PgConn()

	ask := func() {
		for number := 0; number < 100; number++ {
			var answer int
			check(connection.QueryRow(background, "SELECT $1::int", number).Scan(&answer))
			if answer != number {
				check(fmt.Errorf("%d was answered with %d", number, answer))
			}
		}
	}

	var got received
	question := fmt.Sprintf("COPY (SELECT lpad(i::text, 1023, 'x') FROM generate_series(1, %d) i) TO STDOUT", rows)
	_, err = raw.CopyTo(background, &got, question)
	check(err)
	expected := uint32(0)
	for number := 1; number <= rows; number++ {
		expected = crc32.Update(expected, crc32.IEEETable, []byte(row(number)))
	}
	fmt.Printf("download %d %t\n", got.size, got.sum == expected)

	ask()
	_, err = connection.Exec(background, "CREATE TEMP TABLE uploaded (number serial, line text)")
	check(err)
	for first := 1; first <= rows; first += rowsOfAStatement {
		var lines strings.Builder
		for number := first; number < first+rowsOfAStatement && number <= rows; number++ {
			lines.WriteString(row(number))
		}
		var source io.Reader = strings.NewReader(lines.String())
		_, err = raw.CopyFrom(background, source, "COPY uploaded (line) FROM STDIN")
		check(err)
	}
	var isSame bool
	count := "SELECT count(*) = $1 AND bool_and(line = lpad(number::text, 1023, 'x')) FROM uploaded"
	check(connection.QueryRow(background, count, rows).Scan(&isSame))
	fmt.Printf("upload %t\n", isSame)
	ask()
	fmt.Println("statements")
	check(connection.Close(background))
}
