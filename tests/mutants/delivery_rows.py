"""Known defects of the stores on CouchDB, MariaDB and MySQL."""

from __future__ import annotations

from table import Mutant

COUCH = "ave/lab/stores/couchdb/store.py"
ALIKE = "ave/lab/stores/sql/alike.py"
CURSOR = "ave/lab/stores/sql/cursor.py"
BASE = "ave/lab/stores/base.py"
URLS = "ave/urls.py"
CLIENT = "ave/lab/stores/couchdb/client.py"
CONNECTIONS = "ave/lab/stores/couchdb/connections.py"
DOCUMENTS = "ave/lab/stores/couchdb/documents.py"
ENGINE = "ave/lab/stores/sql/engine.py"
MONTHS = "ave/lab/stores/sql/months.py"
PLACES = "ave/lab/config/places.py"
PUTTING = "ave/lab/stores/sql/putting.py"
STORE = "ave/lab/stores/sql/store.py"
TABLES = "ave/lab/stores/sql/tables.py"
TLS = "ave/tls.py"
VALUES = "ave/lab/stores/sql/values.py"

TEST_COUCH = "tests/lab/stores/test_couchdb.py"
TEST_SQL = "tests/lab/stores/test_sql.py"
TEST_BLAME = "tests/lab/stores/test_blame.py"
TEST_URLS = "tests/test_urls.py"
TEST_DECIDED = "tests/lab/stores/test_sql_decided.py"
TEST_CATALOGUE = "tests/lab/stores/test_sql_catalogue.py"
TEST_OBSTACLES = "tests/lab/stores/test_sql_obstacles.py"
TEST_STATEMENTS = "tests/lab/stores/test_sql_statements.py"
TEST_CONTRACT = "tests/lab/stores/test_store_contract.py"

DELIVERY = [
    Mutant(
        *("C1", "an answer that leaves documents out counts as stored", COUCH),
        "if len(rows) != len(records) or {row.get",
        "if False and {row.get",
        f"{TEST_COUCH} -k no_yes",
    ),
    Mutant(
        *("C2", "a conflict is taken for a repeat unseen", COUCH),
        "if _digest(stored[name]) != documents[name].digest:",
        "if False:",
        f"{TEST_CONTRACT} -k different_content and couchdb",
    ),
    Mutant(
        *("C2", "the digest does not cover the body", DOCUMENTS),
        "hashlib.sha256(msgspec.json.encode(fields) + body)",
        "hashlib.sha256(msgspec.json.encode(fields))",
        f"{TEST_CONTRACT} -k different_content and couchdb",
    ),
    Mutant(
        *("C3", "CouchDB's 202 counts as stored", CLIENT),
        "if status not in {200, 201}:",
        "if status not in {200, 201, 202}:",
        f"{TEST_COUCH} -k no_yes",
    ),
    Mutant(
        *("C4", "a redirect is followed", CLIENT),
        "max_redirects=-1",
        "max_redirects=5",
        f"{TEST_COUCH} -k s11",
    ),
    Mutant(
        *("C5", "a certificate is not looked at", TLS),
        "    assert context is not None\n    if insecure:\n",
        "    assert context is not None\n    if True:\n",
        f"{TEST_COUCH} -k s14",
    ),
    Mutant(
        *("C6", "one document that is refused takes the others with it", COUCH),
        "            if len(records) == 1:\n",
        "            if records:\n",
        f"{TEST_COUCH} -k r11",
    ),
    Mutant(
        *("R12", "the library asks a CouchDB that is away twice at once", CLIENT),
        ", retryable_errors=())",
        ")",
        f"{TEST_COUCH} -k hangs_up_when_asked",
    ),
    Mutant(
        *("R12", "a CouchDB is asked again before it wants to be", CONNECTIONS),
        'getheader("Retry-After")',
        'getheader("Retry-Before")',
        f"{TEST_COUCH} -k how_much_later",
    ),
    Mutant(
        *("R12", "Logstash's HTTP input is asked again before it wants to be", "ave/lab/stores/logstash.py"),
        'getheader("Retry-After")',
        'getheader("Retry-Before")',
        "tests/lab/stores/test_logstash.py -k how_much_later",
    ),
    Mutant(
        *("C7", "a connection that CouchDB has closed is used, and is an outage", CONNECTIONS),
        "_has_something(connection.sock)",
        "False",
        f"{TEST_COUCH} -k hung_up",
    ),
    Mutant(
        *("C7", "what an answer said holds for the next request, too", CONNECTIONS),
        "        connection.answer = None\n",
        "",
        f"{TEST_COUCH} -k does_not_hold",
    ),
    Mutant(
        *("C8", "CouchDB is told of the order of keys where it does not look", "ave/lab/stores/couchdb/views.py"),
        '            "options": {"collation": "raw"},\n',
        "",
        f"{TEST_COUCH} -k order_of_bytes",
    ),
    Mutant(
        *("C8", "a range of keys ends before it begins, as CouchDB sorts", "ave/lab/stores/couchdb/views.py"),
        'LAST = "\\ufff0"',
        'LAST = "~"',
        f"{TEST_COUCH} -k ends_before_it_begins",
    ),
    Mutant(
        *("C9", "what any server answers 400 to is a dead letter", CLIENT),
        "if status in {400, 413} and _told(reason):",
        "if status in {400, 413}:",
        f"{TEST_COUCH} -k by_no_couchdb_are_not_buried",
    ),
    Mutant(
        *("C9", "an error in any gateway's JSON is taken for a CouchDB's", CLIENT),
        "all(isinstance(part, str) for part in reason)",
        "bool(reason[0])",
        f"{TEST_COUCH} -k by_no_couchdb_are_not_buried",
    ),
    Mutant(
        *("C9", "who refuses whatever comes makes dead letters", COUCH),
        "                self._check_way(database)\n",
        "",
        f"{TEST_COUCH} -k without_documents_too",
    ),
    Mutant(
        *("C9", "a refusal of CouchDB's that is long or in chunks is not understood", CONNECTIONS),
        'self.headers["Content-Length"] = "1" if pieces else "0"',
        'self.headers["Content-Length"] = str(sum(map(len, pieces)))',
        f"{TEST_COUCH} -k understood",
    ),
    Mutant(
        *("C11", "an answer of CouchDB's that drips is read for long", CONNECTIONS),
        "Answer(sock, ANSWER_S, ANSWER_BYTES)",
        "Answer(sock, 20 * ANSWER_S, ANSWER_BYTES)",
        f"{TEST_COUCH} -k drips",
    ),
    Mutant(
        *("C9", "what is too large for a proxy is a dead letter", COUCH),
        "if isinstance(error, TooLarge):",
        "if False:",
        f"{TEST_COUCH} -k no_proxy_lets_through",
    ),
    Mutant(
        *("C9", "a database that vanishes while documents are compared makes dead letters of them", CLIENT),
        "class Missing(StoreUnavailable):",
        "class Missing(Exception):",
        f"{TEST_COUCH} -k vanishes_in_the_middle",
    ),
    Mutant(
        *("C10", "each new segment is looked for in every month", "ave/lab/stores/seen.py"),
        "begun(segment) <= self._opened if",
        "True if",
        f"{TEST_COUCH} -k looked_for_nowhere",
    ),
    Mutant(
        *("C10", "an older segment is looked for in months before it was begun", COUCH),
        "if first <= database != own]",
        "if database != own]",
        f"{TEST_COUCH} -k only_in_the_months_since",
    ),
    Mutant(
        *("M1", "rows count as stored before they are committed", PUTTING),
        "rows.values()]).rowcount\n            self._connection.commit()\n",
        "rows.values()]).rowcount\n",
        f"{TEST_SQL} -k second_store_knows",
    ),
    Mutant(
        *("M2", "a row that is there is taken for a repeat unseen", PUTTING),
        'if record_of(row, measured) != rows[row["ave_id"]][0]:',
        "if False:",
        f"{TEST_SQL} -k different_content",
    ),
    Mutant(
        *("M3", "whole numbers are cut to 64 bits", VALUES),
        "return (value, True) if type(value) is int and value in _INT else (None, False)",
        "return (max(min(value, _INT[-1]), _INT[0]), True) if type(value) is int else (None, False)",
        f"{TEST_SQL} -k holds_a_value",
    ),
    Mutant(
        *("M3", "a column that another host may make one of floats takes any whole number", VALUES),
        "return (value, True) if type(value) is int and value in _EXACT else (None, False)",
        "return (value, True) if type(value) is int and value in _INT else (None, False)",
        f"{TEST_DECIDED} -k whatever_two_hosts",
    ),
    Mutant(
        *("M3", "rows that are alike go into such a column, whatever their whole numbers", ALIKE),
        "return min(values) >= -_EXACT_MAX and max(values) <= _EXACT_MAX",
        "return min(values) >= -_INT_MAX and max(values) <= _INT_MAX",
        f"{TEST_DECIDED} -k all_hosts",
    ),
    Mutant(
        *("M3", "what is a whole number in the catalogue is one in the table", TABLES),
        'self._alter(measured.table, "MODIFY COLUMN", *columns)',
        'self._alter(measured.table, "MODIFY COLUMN", *(it for it in columns if it.type != "int"))',
        f"{TEST_DECIDED} -k amid_a_decision",
    ),
    Mutant(
        *("M3", "what another host has added meanwhile is not asked for", STORE),
        'select(literal_column("*")).select_from(table)',
        "select(table)",
        f"{TEST_DECIDED} -k while_somebody_reads",
    ),
    Mutant(
        *("M4", "a name becomes an identifier as it is", VALUES),
        "if _PLAIN.fullmatch(name) and not name.startswith(reserved):",
        "if name:",
        f"{TEST_SQL} -k s12 or identifiers",
    ),
    Mutant(
        *("M4", "an identifier is not quoted", MONTHS),
        "quoted = self._connection.dialect.identifier_preparer.quote_identifier(table.name)",
        "quoted = table.name",
        f"{TEST_SQL} -k s12",
    ),
    Mutant(
        *("M5", "a row larger than a packet is sent", CURSOR),
        "if len(text) > self.row_bytes:",
        "if False:",
        f"{TEST_SQL} -k larger_than_a_packet",
    ),
    Mutant(
        *("M6", "what JSON escapes in its own way is taken for SQL", CURSOR),
        '_OTHERWISE = re.compile(rb"\\\\[uf]")',
        '_OTHERWISE = re.compile(rb"\\\\[f]")',
        f"{TEST_SQL} -k comes_back_from",
    ),
    Mutant(
        *("M7", "rows that are alike but for one lose its value", ALIKE),
        "set(map(type, values)) == {type_} and",
        "type_ in set(map(type, values)) and",
        f"{TEST_SQL} -k alike_but",
    ),
    Mutant(
        *("B1", "what fails at every record is blamed on each", BASE),
        "if len(failed) > FEW and len(failed) + len(rejected) == len(batch):",
        "if False:",
        f"{TEST_BLAME} -k none_of_theirs",
    ),
    Mutant(
        *("B2", "a login that lacks a package makes dead letters", STORE),
        "            raise explained(self._database.place, error) or unopened(self._database.place, error) from error",
        "            raise",
        f"{TEST_BLAME} -k foresaw",
    ),
    Mutant(
        *("B3", "a part of a password is taken for the path", URLS),
        'if "@" in path + query or "#" in url:',
        'if "#" in url:',
        f"{TEST_URLS} -k password",
    ),
    Mutant(
        *("B3", "a login is taken for a scheme, or for a part of one", URLS),
        'if not name or ("@" in url and "://" not in url):',
        "if not name:",
        f"{TEST_URLS} -k mistyped",
    ),
    Mutant(
        *("B3", "what cannot be read becomes the name of a store", PLACES),
        "if urls.scheme(url).lower() in STORES:",
        "if not url:",
        f"{TEST_URLS} -k mistyped",
    ),
    Mutant(
        *("B3", "a password among the options becomes a part of a name", PLACES),
        "return name in _PROTECTION or is_secret_name(name)",
        "return name in _PROTECTION",
        f"{TEST_URLS} -k mistyped",
    ),
    Mutant(
        *("M8", "an insert as MySQL 8.0.20 wants it is not known", CURSOR),
        "( (?:AS \\w+ )?ON DUPLICATE",
        "( ON DUPLICATE",
        f"{TEST_STATEMENTS} -k every_version",
    ),
    Mutant(
        *("M9", "an idle store has a transaction open", STORE),
        "            opened.connection.rollback()\n",
        "",
        f"{TEST_OBSTACLES} -k idle",
    ),
    Mutant(
        *("M10", "a table that a crash has left lacks columns for ever", TABLES),
        "        if there:\n            self._alter",
        "        if False:\n            self._alter",
        f"{TEST_OBSTACLES} -k crash_between",
    ),
    Mutant(
        *("M11", "a table of somebody else's is taken for ours", TABLES),
        "elif BASE - there:",
        "elif False:",
        f"{TEST_OBSTACLES} -k somebody_elses",
    ),
    Mutant(
        *("M12", "a job that forgets to commit stops all hosts", TABLES),
        "(number_of(error) == BUSY and name not in self.tables)",
        "True",
        f"{TEST_OBSTACLES} -k forgets_to_commit_new_columns",
    ),
    Mutant(
        *("M13", "a new table costs the more, the more there are", TABLES),
        ".where(tables.c.sql_name.in_(identifiers))",
        "",
        f"{TEST_CATALOGUE} -k new_table_costs",
    ),
    Mutant(
        *("M13", "each record of a table too many is one more to put", TABLES),
        "        self._full_until = monotonic() + RETRY_S\n",
        "",
        f"{TEST_CATALOGUE} -k cost_as_much",
    ),
    Mutant(
        *("M14", "what another host has made meanwhile is made again", TABLES),
        "            self._read(name)\n",
        "",
        f"{TEST_CATALOGUE} -k while_one_waits",
    ),
    Mutant(
        *("M15", "a row that is not there counts as stored", PUTTING),
        "        missing = rows.keys() - self._judged(list(rows), rows, measured)",
        "        self._judged(list(rows), rows, measured)\n        missing = set()",
        f"{TEST_OBSTACLES} -k another_key",
    ),
    Mutant(
        *("M16", "a table that an operator changed stops all others", PUTTING),
        "            if not is_lasting and explained(",
        "            if explained(",
        f"{TEST_OBSTACLES} -k operators_table_refuses",
    ),
    Mutant(
        *("M17", "a table that cannot be divided stops all others", MONTHS),
        "            if not is_of_table(error):\n                raise\n            self._later",
        "            if True:\n                raise\n            self._later",
        f"{TEST_OBSTACLES} -k cannot_be_divided",
    ),
    Mutant(
        *("M18", "a table of ours that is gone makes dead letters", ENGINE),
        " or number in _CHANGED:",
        ":",
        f"{TEST_OBSTACLES} -k catalogue_that_somebody_has_dropped",
    ),
    Mutant(
        *("M19", "a row that was kept as a record is stored twice", PUTTING),
        "                there |= self._judged(again, rows, None)",
        "                there |= set()",
        f"{TEST_OBSTACLES} -k stored_twice",
    ),
]
