// Logs in with node-postgres and asks one question. Arguments: where its modules are, port, CA, certificate, key, password.
const [modules, port, ca, cert, key, password] = process.argv.slice(2);
const { readFileSync } = require("fs");
const { Client } = require(`${modules}/pg`);

const client = new Client({
  host: "localhost", port: Number(port), user: "app", password, database: "ledger",
  ssl: { ca: readFileSync(ca), cert: readFileSync(cert), key: readFileSync(key), rejectUnauthorized: true },
});
client
  .connect()
  .then(() => client.query("SELECT current_user AS who, $1::int AS number", [7]))
  .then(({ rows: [row] }) => console.log(row.who, row.number))
  .then(() => client.end())
  .catch((error) => {
    console.error(error);
    process.exit(1);
  });
