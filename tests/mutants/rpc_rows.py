"""Known defects of RPC."""

from __future__ import annotations

from table import Mutant

BODIES = "ave/spool/bodies.py"
CODEC = "ave/network/codec.py"
CONNECTION = "ave/network/connection.py"
DISPATCH = "ave/network/dispatch.py"
FRAMES = "ave/network/frames.py"
HANDSHAKE = "ave/network/handshake.py"
MESSAGES = "ave/network/messages.py"
METHODS = "ave/network/methods.py"
REDACT = "ave/redact/__init__.py"
REMOTE = "ave/network/remote.py"
SERVER = "ave/network/server.py"
WRITER = "ave/spool/writer.py"

TEST_CROWDS = "tests/chaos/test_network_crowds.py"
TEST_FRAMES = "tests/chaos/test_network_frames.py"
TEST_JSON = "tests/chaos/test_network_json.py"
TEST_PEERS = "tests/chaos/test_network_peers.py"
TEST_REPLAY = "tests/chaos/test_network_replay.py"
TEST_COMPANY = "tests/spool/test_company.py"
TEST_HANDSHAKE = "tests/network/test_handshake.py"
TEST_RECORDS = "tests/network/test_records.py"
TEST_WIRE = "tests/network/test_original_wire.py"

RPC = [
    Mutant(
        *("S1", "any length is believed", FRAMES),
        "        if not 0 < length <= self.limit:\n",
        "        if not 0 < length:\n",
        f"{TEST_FRAMES} -k mebibyte",
    ),
    Mutant(
        *("S1", "an empty message is one", FRAMES),
        "        if not 0 < length <= self.limit:\n",
        "        if not 0 <= length <= self.limit:\n",
        f"{TEST_WIRE} -k empty_frame",
    ),
    Mutant(
        *("S1", "a length is read before it is there", FRAMES),
        "        if size < 4:\n            return None\n        (length,)",
        "        (length,)",
        f"{TEST_FRAMES} -k split_at_every",
    ),
    Mutant(
        *("S1", "what follows a message is lost", FRAMES),
        "        self._at = end\n",
        "        self._buffer, self._at = self._buffer[:end], end\n",
        "tests/network/test_framing.py",
    ),
    Mutant(
        *("S1", "who has yet to say hello may send long messages", SERVER),
        "            peer = Peer(sock, HANDSHAKE_LIMIT)\n",
        "            peer = Peer(sock, self._limit)\n",
        f"{TEST_FRAMES} -k mebibyte",
    ),
    Mutant(
        *("S1", "who knows no key may send long messages", SERVER),
        "        if peer.key is not None or not self._service.keys():\n",
        "        if peer.key is not None or True:\n",
        f"{TEST_FRAMES} -k knowing_no_key",
    ),
    Mutant(
        *("S1", "a bad frame ends the server", SERVER),
        "            except ProtocolError as error:\n                self._refuse(peer, error)\n",
        "            except KeyError as error:\n                self._refuse(peer, error)\n",
        f"{TEST_FRAMES} -k bad_length",
    ),
    Mutant(
        *("S1", "a bad frame is not answered", SERVER),
        "        is_there = peer.send(message) if peer.state == OPEN else peer.send_open(message)\n",
        "        is_there = False\n",
        f"{TEST_FRAMES} -k bad_length",
    ),
    Mutant(
        *("S2", "a text that is none ends the server", CODEC),
        "        except StopIteration:\n",
        "        except KeyError:\n",
        f"{TEST_JSON} -k malformed_and_the_connection",
    ),
    Mutant(
        *("S2", "any depth is read", CODEC),
        " and _is_deep(value, DEPTH_MAX):\n",
        " and False:\n",
        f"{TEST_JSON} -k malformed_and_the_connection",
    ),
    Mutant(
        *("S2", "any depth is written", CODEC),
        " and _is_deep(value, levels):\n",
        " and False:\n",
        f"{TEST_JSON} -k argument_that_is_no_json",
    ),
    Mutant(
        *("S2", "NaN is read", CODEC),
        "parse_constant=_no_number, ",
        "",
        f"{TEST_JSON} -k malformed_and_the_connection",
    ),
    Mutant(
        *("S2", "NaN is written", CODEC),
        '":", ",", False, False, False)',
        '":", ",", False, False, True)',
        f"{TEST_JSON} -k argument_that_is_no_json",
    ),
    Mutant(
        *("S2", "1e999 is infinity", CODEC),
        "    if value - value != 0:\n",
        "    if value != value:\n",
        f"{TEST_JSON} -k malformed_and_the_connection",
    ),
    Mutant(
        *("S2", "of two equal keys the last one counts", CODEC),
        "    if len(content) < len(pairs):\n",
        "    if len(content) < 0:\n",
        f"{TEST_JSON} -k malformed",
    ),
    Mutant(
        *("S2", "every key is compared with every other", CODEC),
        "    seen: set[str] = set()\n    for name, _ in pairs:\n        if name in seen:\n            break\n"
        "        seen.add(name)\n",
        "    seen: list[str] = []\n    for name, _ in pairs:\n        if name in seen:\n            break\n"
        "        seen.append(name)\n",
        f"{TEST_JSON} -k occupies",
    ),
    Mutant(
        *("S2", "a result with methods of its own ends the server", CODEC),
        "    except Exception as error:\n        # a value",
        "    except ValueError as error:\n        # a value",
        f"{TEST_JSON} -k service_lives",
    ),
    Mutant(
        *("S2", "a trace tells of a result that was not sent", DISPATCH),
        '    reply.pop("result", None)\n    reply["exception"] =',
        '    reply = {key: value for key, value in reply.items() if key != "result"}\n    reply["exception"] =',
        f"{TEST_JSON} -k service_lives",
    ),
    Mutant(
        *("S4", "the MAC leaves out the number", HANDSHAKE),
        '_count = Struct(">Q").pack\n',
        '_count = lambda number: b"12345678"\n',
        f"{TEST_REPLAY} -k whatever_is_done",
    ),
    Mutant(
        *("S4", "the first bytes of a MAC are enough", HANDSHAKE),
        "content), message[:MAC_SIZE]):\n",
        "content)[:4], message[:4]):\n",
        f"{TEST_REPLAY} -k whatever_is_done",
    ),
    Mutant(
        *("S4", "both directions have one key", HANDSHAKE),
        '_mac(key, f"messages of the {receiver}", greeting, nonce)',
        '_mac(key, f"messages of the {sender}", greeting, nonce)',
        f"{TEST_HANDSHAKE}",
    ),
    Mutant(
        *("S4", "a proof does not say whose it is", HANDSHAKE),
        "% (VERSION, role.encode(), ",
        '% (VERSION, b"any", ',
        f"{TEST_REPLAY} -k of_its_own_back",
    ),
    Mutant(
        *("S4", "a proof does not depend on the greeting", HANDSHAKE),
        "_size(len(greeting)), greeting, nonce)\n",
        '_size(len(greeting)), b"", nonce)\n',
        f"{TEST_REPLAY} -k recorded_session",
    ),
    Mutant(
        *("S4", "a client believes who says that it knows the key", HANDSHAKE),
        '        if not hmac.compare_digest(own, _bytes_of(answer, "proof", MAC_SIZE)):\n',
        "        if not hmac.compare_digest(own, own):\n",
        f"{TEST_REPLAY} -k neither_a_digest",
    ),
    Mutant(
        *("S4", "a proof may have any size", HANDSHAKE),
        "    if len(value) != size:\n",
        "    if len(value) > size:\n",
        f"{TEST_REPLAY} -k offers_less",
    ),
    Mutant(
        *("S4", "a hello may offer more, such as an algorithm", HANDSHAKE),
        ' or set(hello) != {"ave", "nonce", "proof"}:\n',
        ":\n",
        f"{TEST_REPLAY} -k offers_less",
    ),
    Mutant(
        *("S4", "a client answers a challenge by a digest", HANDSHAKE),
        "            _check_greeting(greeting)\n        proof",
        "            _check_greeting(greeting)\n        else:\n"
        '            return hmac.digest(self._key, self._greeting[len(CHALLENGE) :], "md5")\n        proof',
        f"{TEST_REPLAY} -k neither_a_digest",
    ),
    Mutant(
        *("S4", "a server takes a digest unasked", HANDSHAKE),
        "        if self._legacy and len(message) == MD5_SIZE:\n",
        "        if len(message) == MD5_SIZE:\n",
        f"{TEST_HANDSHAKE}",
    ),
    Mutant(
        *("S4", "a proof is compared byte by byte", HANDSHAKE),
        "hmac.compare_digest(mac_of(key), proof)",
        "mac_of(key) == proof",
        f"{TEST_REPLAY} -k compare_digest",
    ),
    Mutant(
        *("S5", "a handshake may take ten minutes", SERVER),
        "HANDSHAKE_S = 5.0\n",
        "HANDSHAKE_S = 600.0\n",
        f"{TEST_CROWDS} -k half_open",
    ),
    Mutant(
        *("S5", "a message may take ten minutes", SERVER),
        "MESSAGE_S = 9.0\n",
        "MESSAGE_S = 600.0\n",
        f"{TEST_CROWDS} -k dribble",
    ),
    Mutant(
        *("S5", "every byte gives a message its time anew", SERVER),
        "        if peer.state == OPEN and peer not in self._messages:\n",
        "        if peer.state == OPEN:\n",
        f"{TEST_CROWDS} -k dribble",
    ),
    Mutant(
        *("S5", "one byte is progress enough", SERVER),
        "        if peer.progress < RATE * MESSAGE_S:\n",
        "        if peer.progress < 1:\n",
        f"{TEST_CROWDS} -k dribble",
    ),
    Mutant(
        *("S5", "any number may be unauthenticated", SERVER),
        "        if len(self._unauthenticated) > UNAUTHENTICATED_MAX:\n",
        "        if len(self._unauthenticated) > 100 * UNAUTHENTICATED_MAX:\n",
        f"{TEST_CROWDS} -k half_open",
    ),
    Mutant(
        *("S5", "who takes no replies stays", SERVER),
        "            self._stalls.begin(peer)\n",
        "",
        f"{TEST_CROWDS} -k take_no_replies",
    ),
    Mutant(
        *("S5", "who takes no replies is answered on", SERVER),
        " or peer.state == LEAVING or not peer.is_taken:\n",
        " or peer.state == LEAVING:\n",
        f"{TEST_CROWDS} -k take_no_replies",
    ),
    Mutant(
        *("RPC", "every method can be called", METHODS),
        " = Method(value) if is_rpc else None\n",
        ' = Method(value) if is_rpc or type(value).__name__ == "function" else None\n',
        f"{TEST_PEERS} -k no_attribute",
    ),
    Mutant(
        *("RPC", "a reply may have any size", DISPATCH),
        "    if len(message) > limit:\n",
        "    if len(message) < 0:\n",
        f"{TEST_PEERS} -k around_the_limit",
    ),
    Mutant(
        *("RPC", "a call is made again when its service is gone", REMOTE),
        "            reply = self._send_and_wait(call)\n",
        "            try:\n                reply = self._send_and_wait(call)\n            except ConnectionClosed:\n"
        "                self._drop()\n                reply = self._send_and_wait(call)\n",
        f"{TEST_PEERS} -k not_made_again",
    ),
    Mutant(
        *("RPC", "a connection is taken for alive", REMOTE),
        "        if connection is not None and (connection.is_quiet() or self._is_alive(connection, deadline)):\n",
        "        if connection is not None:\n",
        f"{TEST_PEERS} -k between_two_calls",
    ),
    Mutant(
        *("RPC", "who always talks is always in time", CONNECTION),
        "            if left == 0 or not (self.has_more()",
        "            if not (self.has_more()",
        f"{TEST_PEERS} -k than_its_timeout",
    ),
    Mutant(
        *("RPC", "arguments are taken from wherever they seem to be", MESSAGES),
        "    if not FIELDS.issuperset(blob):\n",
        "    if False:\n",
        f"{TEST_RECORDS} -k foreign_peer",
    ),
    Mutant(
        *("RPC", "a result is taken from wherever it seems to be", MESSAGES),
        ' if len(reply) == 1 and "id" in reply else ""\n',
        ' if "id" in reply else ""\n',
        f"{TEST_RECORDS} -k foreign_peer",
    ),
    Mutant(
        *("RPC", "a traced text may have escapes", REDACT),
        '    return "\\\\" not in text and _looks_innocent(text)\n',
        "    return _looks_innocent(text)\n",
        TEST_RECORDS,
    ),
    Mutant(
        *("S15", "a traced text is not looked at for secrets", BODIES),
        "    return is_plain and redact.is_clean_json(shape)\n",
        '    return is_plain and "\\\\" not in shape\n',
        f"{TEST_RECORDS} -k secret",
    ),
    Mutant(
        *("RPC", "of equal keys both stand in a record", BODIES),
        """'0":', 'true":', 'false":', 'null":')\n""",
        ")\n",
        f"{TEST_RECORDS} -k twice",
    ),
    Mutant(
        *("R22", "what waits is forgotten at the end", WRITER),
        "    def close(self) -> None:\n        self.flush()\n",
        "    def close(self) -> None:\n",
        f"{TEST_COMPANY} -k the_end",
    ),
    Mutant(
        *("R17", "a child writes what waited in its parent", WRITER),
        "    _emitters.clear()\n",
        "    [emitter.flush() for emitter in emitters]\n    _emitters.clear()\n",
        f"{TEST_COMPANY} -k forked",
    ),
    Mutant(
        *("R18", "other records overtake those that wait", WRITER),
        "    if emitter.waiting:\n        emitter.flush()\n",
        "",
        f"{TEST_COMPANY} -k behind",
    ),
]
