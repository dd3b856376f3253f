"""Known defects of delivery into OpenSearch, Elasticsearch and Logstash."""

from __future__ import annotations

from table import Mutant

ANSWERS = "ave/lab/stores/answers.py"
BULK = "ave/lab/stores/elasticsearch/bulk.py"
LATER = "ave/lab/stores/later.py"
INDICES = "ave/lab/stores/elasticsearch/indices.py"
FIELDS = "ave/lab/stores/elasticsearch/fields.py"
LOGSTASH = "ave/lab/stores/logstash.py"
PLACE = "ave/lab/stores/elasticsearch/place.py"
WIRE = "ave/lab/stores/elasticsearch/wire.py"

TEST_WIRE = "tests/lab/stores/test_elasticsearch_wire.py"
TEST_DOCUMENTS = "tests/lab/stores/test_elasticsearch_documents.py"
TEST_LOGSTASH = "tests/lab/stores/test_logstash.py"

SEARCH = [
    Mutant(
        *("R8", "what is there under an id counts as stored whatever it is", BULK),
        "    return Outcome(refused, _different(cluster, there))\n",
        "    return Outcome(refused, [])\n",
        f"{TEST_WIRE} -k every_items_status",
    ),
    Mutant(
        *("R8", "a status of 200 is believed, and no item's looked at", BULK),
        "        elif status != 201:\n",
        "        elif False:\n",
        f"{TEST_WIRE} -k item_for_later",
    ),
    Mutant(
        *("R8", "an answer cut off within its headers is an acknowledgement", BULK),
        "    if [id_ for id_, _, _ in found] != [line.record.id for line in lines]:\n",
        "    if False:\n",
        f"{TEST_WIRE} -k does_not_speak",
    ),
    Mutant(
        *("3.7", "a missing right makes dead letters", BULK),
        "    if status in {400, 401, 403, 404} and",
        "    if status in {401, 404} and",
        f"{TEST_WIRE} -k only_a_person",
    ),
    Mutant(
        *("3.7", "what stands before the server makes dead letters", BULK),
        "    if answer.status == 400 and kind and kind != _EITHER:\n",
        "    if answer.status:\n",
        f"{TEST_WIRE} -k stands_before",
    ),
    Mutant(
        *("3.7", "a missing pipeline makes dead letters", BULK),
        "        return again or _SURELY in",
        "        return again or ' ' in",
        f"{TEST_WIRE} -k buries_none",
    ),
    Mutant(
        *("3.7", "an index that takes any field gets records", INDICES),
        "    if wrong:\n",
        "    if False:\n",
        f"{TEST_WIRE} -k without_our_template",
    ),
    Mutant(
        *("3.7", "a template that is gone is not missed when the next month begins", INDICES),
        "    installed(cluster)\n",
        "",
        f"{TEST_WIRE} -k gone_by_then",
    ),
    Mutant(
        *("R12", "nodes that cannot work are asked again before they want to be", WIRE),
        '            waits.append(headers.get("Retry-After"))\n',
        '            waits.append("")\n',
        f"{TEST_WIRE} -k before_it_wants",
    ),
    Mutant(
        *("R12", "the node that is the least patient says when all are asked again", LATER),
        "max(waits)",
        "min(waits)",
        f"{TEST_WIRE} -k before_it_wants",
    ),
    Mutant(
        *("S11", "redirects are followed", WIRE),
        "            allow_redirects=False,\n",
        "            allow_redirects=True,\n",
        f"{TEST_WIRE} -k redirect",
    ),
    Mutant(
        *("S11", "a .netrc and proxies of the environment are used", WIRE),
        "    session.trust_env = False\n",
        "",
        f"{TEST_WIRE} -k netrc",
    ),
    Mutant(
        *("S14", "another machine is reached without TLS", PLACE),
        '    return not (said.scheme.endswith("+http") or is_local or insecure)\n',
        "    return False\n",
        f"{TEST_WIRE} -k whether_tls",
    ),
    Mutant(
        *("S14", "certificates are not looked at", PLACE),
        "            verify=not insecure if",
        "            verify=False if",
        f"{TEST_WIRE} -k certificate_names",
    ),
    Mutant(
        *("3.6", "a user's long value makes a whole record poison", FIELDS),
        "    return len(text) <= SMALL_BYTES and",
        "    return",
        f"{TEST_DOCUMENTS} -k kept_aside",
    ),
    Mutant(
        *("3.6", "a connection that Logstash ended early counts as taken", LOGSTASH),
        '            raise ConnectionResetError("it closed in the middle")\n',
        "            return\n",
        f"{TEST_LOGSTASH} -k gone_already",
    ),
    Mutant(
        *("3.6", "the end of TLS is waited for, which Java never answers", LOGSTASH),
        "        with suppress(ssl.SSLWantReadError):\n            connection.unwrap()\n",
        "        connection.settimeout(STEP_S)\n        connection.unwrap()\n",
        f"{TEST_LOGSTASH} -k whether_or_not_the_end",
    ),
    Mutant(
        *("3.6", "an answer that drips is read for long", ANSWERS),
        "self._seconds, self._size = seconds, size",
        "self._seconds, self._size = 20 * seconds, size",
        f"{TEST_LOGSTASH} -k drips",
    ),
    Mutant(
        *("3.6", "an answer of OpenSearch that drips is read for long", "ave/lab/stores/elasticsearch/connections.py"),
        "Answer(sock, ANSWER_S, ANSWER_BYTES)",
        "Answer(sock, 20 * ANSWER_S, ANSWER_BYTES)",
        f"{TEST_WIRE} -k drips",
    ),
    Mutant(
        *("3.7", "what is too large for an ingress is a dead letter", BULK),
        "        if is_alone and not kind:\n",
        "        if False:\n",
        f"{TEST_WIRE} -k holds_the_queue",
    ),
    Mutant(
        *("R11", "a record that Logstash refuses blocks all others", LOGSTASH),
        "        if status not in _REFUSED:\n",
        "        if True:\n",
        f"{TEST_LOGSTASH} -k rejected_alone",
    ),
    Mutant(
        *("R11", "what is no Logstash makes a dead letter of every record", LOGSTASH),
        "            self._send([])\n",
        "",
        f"{TEST_LOGSTASH} -k refuses_whatever",
    ),
]
