"""Known defects of ave-logd and of the audit."""

from __future__ import annotations

from table import Mutant

ACCOUNT = "ave/lab/logd/account.py"
AUDIT = "ave/lab/audit.py"
BALANCE = "ave/lab/balance.py"
BOOKKEEPER = "ave/lab/logd/bookkeeper.py"
BOOKS = "ave/lab/logd/books.py"
DAEMON = "ave/lab/logd/daemon.py"
EMBEDDED = "ave/lab/stores/embedded.py"
LEDGER = "ave/lab/logd/ledger.py"
LETTERS = "ave/lab/logd/letters.py"
PLACES = "ave/lab/logd/places.py"
LIFE = "ave/lab/daemon/life.py"
SIGNALS = "ave/lab/daemon/signals.py"
LOGD_PROGRAM = "ave/lab/logd/program.py"
PID_FILE = "ave/lab/daemon/pidfile.py"
BATCHES = "ave/lab/logd/batches.py"
SERVICES = "ave/lab/cli/services.py"
SHIPPER = "ave/lab/logd/shipper.py"
TELLING = "ave/lab/logd/telling.py"
WATCH = "ave/lab/logd/watch.py"

TEST_CROWD = "tests/chaos/test_delivery_crowd.py"
TEST_DAEMON = "tests/lab/logd/test_logd_daemon.py"
TEST_PROGRAM = "tests/lab/logd/test_logd_program.py"
TEST_DAMAGE = "tests/chaos/test_logd_damage.py"
TEST_FAULTS = "tests/chaos/test_logd_faults.py"
TEST_KILL = "tests/chaos/test_logd_kill.py"
TEST_SIGNALS = "tests/chaos/test_logd_signals.py"
TEST_STORES = "tests/chaos/test_logd_stores.py"
TEST_BOOKS = "tests/lab/logd/test_books.py"
TEST_LEDGER = "tests/lab/logd/test_ledger.py"
TEST_SERVICES = "tests/system/test_services.py"
TEST_SHIPPER = "tests/lab/logd/test_shipper.py"
TEST_AUDIT = "tests/lab/test_audit.py"

PUT = """        if batch:
            rejected = put_all(store, batch)
            io.reached("batch-stored")
            if rejected:
                self._bury(rejected)
                io.reached("letters-written")
"""
MOVE = """        if positions:
            cursor.move(positions)
            io.reached("cursor-moved")
"""
RECEPTION = """        came, self._came = self._came, set()
        return came

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._came.add(number)
"""
LOCKED_RECEPTION = """        with Signals.lock:
            came, self._came = self._came, set()
        return came

    def _note(self, number: int, _frame: FrameType | None) -> None:
        with Signals.lock:
            self._came.add(number)

    lock = __import__("threading").Lock()
"""

LOGD = [
    Mutant(
        *("R3", "ave-logd takes a torn tail for a gap", LEDGER),
        "                torn += item.torn\n",
        "                torn += item.torn\n"
        "                self._account(segment).arrives(self._account(segment).top + 2, 0)\n",
        f"{TEST_DAMAGE} -k r3",
    ),
    Mutant(
        *("R3", "a torn tail is never passed, so its segment stays", WATCH),
        "return segment.read(offset, limit, final=seen.final)",
        "return segment.read(offset, limit, final=False)",
        f"{TEST_DAMAGE} -k r3",
    ),
    Mutant(
        *("R4", "ave-logd stops at the first damage of a segment", BATCHES),
        "            end = item.end\n",
        "            if not isinstance(item, Line):\n                break\n            end = item.end\n",
        f"{TEST_DAMAGE} -k r4 and zeroed",
    ),
    Mutant(
        *("R4", "damage is ignored by the books", ACCOUNT),
        "                self.missing.append((self.top + 1, first - 1))\n",
        "                pass\n",
        f"{TEST_DAMAGE} -k r4 and flipped",
    ),
    Mutant(
        *("R4", "a flipped bit makes a later version", WATCH),
        " or not segment.header():",
        ":",
        "tests/lab/logd/test_watch.py -k flipped",
    ),
    Mutant(
        *("R4", "a line that damage doubled counts twice", LEDGER),
        "        if self._account(segment).arrives(seq, seq):\n",
        "        if self._account(segment).arrives(seq, seq) or True:\n",
        f"{TEST_DAMAGE} -k r4 and doubled",
    ),
    Mutant(
        *("R5", "an error at one segment ends the look at all", WATCH),
        '            except OSError as error:\n                self._tell(name, f"cannot be looked',
        '            except KeyError as error:\n                self._tell(name, f"cannot be looked',
        "tests/lab/logd/test_watch.py -k error_at_one",
    ),
    Mutant(
        *("R5", "any name is taken for a segment's", WATCH),
        "        if not _NAME.fullmatch(name):\n",
        "        if not name:\n",
        f"{TEST_DAMAGE} -k r5",
    ),
    Mutant(
        *("R5", "somebody else's file is delivered", WATCH),
        "        if owner not in {0, os.geteuid(), os.stat(self.spool).st_uid}:\n",
        "        if owner is None:\n",
        f"{TEST_DAMAGE} -k r5",
    ),
    Mutant(
        *("R5", "a footer is believed whatever it says", TELLING),
        "_Number = Annotated[int, msgspec.Meta(ge=0, lt=10**18)]",
        "_Number = int",
        f"{TEST_LEDGER} -k footer_that_cannot",
    ),
    Mutant(
        *("R5", "what lies in a place of ours stops the start", DAEMON),
        "        make_way(self.spool, [route.name for route in self.routing.routes])\n",
        "        make_way(self.spool, [])\n",
        "tests/lab/logd/test_places.py",
    ),
    Mutant(
        *("R6", "the cursor moves before the batch is stored", SHIPPER),
        PUT + MOVE,
        MOVE + PUT,
        f"{TEST_KILL} -k at_every_point",
    ),
    Mutant(
        *("R6", "the cursor moves before the letters are written", SHIPPER),
        PUT + MOVE,
        PUT.replace(
            "                self._bury",
            "                cursor.move(positions)\n                io.reached('x')\n                self._bury",
        ).replace("'x'", "'letters-written'")
        + MOVE,
        f"{TEST_KILL} -k at_every_point",
    ),
    Mutant(
        *("R6", "a segment is removed before the books say so", DAEMON),
        '        self.books.ledger.delete(done)\n        io.reached("deletion-noted")\n'
        "        for name in done:\n            self._remove(name)\n",
        "        for name in done:\n            self._remove(name)\n"
        '        io.reached("deletion-noted")\n        self.books.ledger.delete(done)\n',
        f"{TEST_KILL} -k taken_for_lost",
    ),
    Mutant(
        *("R6", "a segment is removed before it is in the books", DAEMON),
        "            and self.books.ledger.is_read(name)\n",
        "",
        "tests/lab/logd/test_logd_daemon.py -k in_the_books",
    ),
    Mutant(
        *("R6", "a segment is removed before it is stored", DAEMON),
        " and all(name in shipper.done for shipper in self.shippers)",
        "",
        "tests/lab/logd/test_logd_daemon.py -k every_store",
    ),
    Mutant(
        *("R6", "the books forget deleted segments, and count them again", LEDGER),
        "            self._set_state(segments, DELETED)\n        for name",
        "            self._db.executemany('DELETE FROM segments WHERE name = ?', [(name,) for name in segments])\n"
        "        for name",
        f"{TEST_KILL} -k at_every_point",
    ),
    Mutant(
        *("R6", "counts and position are not one transaction", LEDGER),
        "            (segment, *position, host, damage, torn, int(time.time())),\n        )\n",
        "            (segment, *position, host, damage, torn, int(time.time())),\n        )\n"
        "        self._db.execute('COMMIT')\n        self._db.execute('BEGIN IMMEDIATE')\n",
        f"{TEST_KILL} -k at_every_point",
    ),
    Mutant(
        *("R6", "a living job's segment is taken for final", WATCH),
        "        final = segment.is_final()  #",
        "        final = True  #",
        f"{TEST_KILL} -k silent_for_long",
    ),
    Mutant(
        *("R6", "a letter behind a torn one is swallowed", LETTERS),
        'b"\\n" + b"".join',
        'b"".join',
        "tests/lab/logd/test_letters.py -k crash_cut",
    ),
    Mutant(
        *("R11", "a letter that a store says much of cannot be read again", LETTERS),
        "letter.reason[:REASON_MAX]",
        "letter.reason",
        "tests/lab/logd/test_letters.py -k whatever_a_store_says",
    ),
    Mutant(
        *("R11", "letters that were taken are gone before it is known what became of them", LETTERS),
        "for path in (self._taken, self.path):",
        "for path in (self.path,):",
        "tests/lab/logd/test_letters.py -k taken_are_gone",
    ),
    Mutant(
        *("R11", "whoever takes letters takes those of one who failed for his own", LETTERS),
        '_append(self._taken, chain([b"\\n"], _pages(fd)))',
        "pass",
        "tests/lab/logd/test_letters.py -k one_who_fails",
    ),
    Mutant(
        *("R6", "two of them serve one home", PID_FILE),
        "            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
        "            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)\n",
        "tests/lab/logd/test_logd_program.py -k second_one",
    ),
    Mutant(
        *("R7", "a segment without a position is read from its middle", BATCHES),
        "            offset, seq = begin.get(name, (0, 0))\n",
        "            offset, seq = begin.get(name, (seen.size // 2, 0))\n",
        f"{TEST_STORES} -k r7 and deleted",
    ),
    Mutant(
        *("R7", "the store keeps what comes again", EMBEDDED),
        "ON CONFLICT (id) DO NOTHING",
        "ON CONFLICT (id) DO UPDATE SET id = id || '-again'",
        f"{TEST_STORES} -k r7 and restored",
    ),
    Mutant(
        *("R7", "a store does not get what it passed by when it took less", "ave/spool/cursors.py"),
        " if taken.issuperset(kinds) else {}",
        "",
        "tests/spool/test_cursors.py -k begins_anew",
    ),
    Mutant(
        *("R10", "a store that is down holds up the others", SHIPPER),
        "                self._ending.wait(self._pause())\n",
        "                with self.watch.changed:\n                    self._ending.wait(30)\n",
        f"{TEST_STORES} -k r10 and directory",
    ),
    Mutant(
        *("R10", "a store that cannot even be closed ends its shipper", SHIPPER),
        "            try:\n                store.close()\n            except Exception:\n",
        "            try:\n                store.close()\n            except OSError:\n",
        "tests/lab/logd/test_shipper.py -k fails_oddly",
    ),
    Mutant(
        *("R11", "poison is dropped without a letter", SHIPPER),
        "        self._letters.add(rejected)\n",
        "",
        f"{TEST_STORES} -k r11",
    ),
    Mutant(
        *("R11", "poison holds the queue", SHIPPER),
        "            if rejected:\n                self._bury(rejected)\n",
        "            if rejected:\n                raise OSError('rejected')\n",
        f"{TEST_STORES} -k r11",
    ),
    Mutant(
        *("R12", "all hosts come back in step", SHIPPER),
        "random.uniform(0, most)  # noqa: S311",
        "most",
        f"{TEST_CROWD} -k storm",
    ),
    Mutant(
        *("R12", "a server that is away is asked all the time", SHIPPER),
        "self._ending.wait(self._pause())",
        "self._ending.wait(0.1)",
        f"{TEST_CROWD} -k storm",
    ),
    Mutant(
        *("R12", "a server that asks for time gets none", SHIPPER),
        "return self._asked_s + ",
        "return ",
        f"{TEST_SHIPPER} -k wants_to_be",
    ),
    Mutant(
        *("R13", "the audit believes the cursor, not the store", BALANCE),
        "max(rest - unread, 0)",
        "max(rest - unread - count.written, 0)",
        TEST_AUDIT,
    ),
    Mutant(
        *("R13", "a store that cannot be asked is believed to have what waits for it", BALANCE),
        "return _Entry(acknowledged, dead, min(unread, due), kept - due, 0)",
        "return _Entry(acknowledged, dead, 0, kept - due, 0)",
        f"{TEST_AUDIT} -k cannot_be_asked",
    ),
    Mutant(
        *("R13", "a store is asked for what went before it was named", LEDGER),
        "noted.get(routing) if is_gone else self.takers",
        "self.takers",
        f"{TEST_AUDIT} -k named_later",
    ),
    Mutant(
        *("R13", "an ave-logd that serves older files is taken for well", SERVICES),
        '    before = said.get("serves")\n',
        "    before = None\n",
        f"{TEST_SERVICES} -k older_files",
    ),
    Mutant(
        *("R13", "what no store takes is dropped without a word", BOOKKEEPER),
        "        self._tell_dropped(self.ledger.dropped)\n",
        "",
        "tests/lab/logd/test_bookkeeper.py -k no_store_takes",
    ),
    Mutant(
        *("R13", "a run of which nothing is known is proved", AUDIT),
        "bool(self.rows) and all(",
        "all(",
        "tests/lab/cli/test_proof.py -k nothing_is_known_of_is_the_answer_no",
    ),
    Mutant(
        *("R13", "a store that is away proves all it should have", AUDIT),
        " and not self.gaps and not self.away",
        " and not self.gaps",
        f"{TEST_AUDIT} -k proves_nothing",
    ),
    Mutant(
        *("R13", "the audit counts what is stored last", AUDIT),
        "        sides = [_side(route, home, guid, ledger.hosts(guid), patience) for route in routing.routes]\n"
        "        _enter_all(ledger, watch)\n",
        "        sides = [_side(route, home, guid, ledger.hosts(guid), patience) for route in routing.routes]\n",
        f"{TEST_AUDIT} -k in_the_books_too",
    ),
    Mutant(
        *("R13", "the books lose what was not committed", LEDGER),
        '    def rollback(self) -> None:\n        """Undo what was taken since the last commit."""\n'
        '        if self._db.in_transaction:\n            self._db.execute("ROLLBACK")\n        self._forget()\n',
        '    def rollback(self) -> None:\n        """Undo what was taken since the last commit."""\n'
        '        if self._db.in_transaction:\n            self._db.execute("ROLLBACK")\n'
        "        self._positions.update(self._taken)\n        self._forget()\n",
        f"{TEST_LEDGER} -k rollback",
    ),
    Mutant(
        *("R14", "a footer tells nothing", LEDGER),
        "            self._account(segment).arrives(footer.count + 1, footer.count)\n",
        "            pass\n",
        f"{TEST_DAMAGE} -k r14 and record",
    ),
    Mutant(
        *("R14", "a footer makes the books forget how many there were", LEDGER),
        "arrives(footer.count + 1, footer.count)",
        "arrives(footer.count + 1, 0)",
        f"{TEST_DAMAGE} -k r14 and segment",
    ),
    Mutant(
        *("R14", "a segment that vanished is taken for delivered", LEDGER),
        "            self._set_state([segment], LOST if first <= last else DELETED)\n            if first <= last:\n",
        "            self._set_state([segment], DELETED)\n            if first < 0:\n",
        f"{TEST_DAMAGE} -k r14 and segment",
    ),
    Mutant(
        *("R14", "a final segment that becomes another file is not noticed", WATCH),
        "if seen.final and not is_check:",
        "if seen.final:",
        "tests/lab/logd/test_watch.py -k final_segment_that",
    ),
    Mutant(
        *("R14", "a segment that became another file is taken for the one that was read", LEDGER),
        "before.file != seen.file:",
        "before.file != before.file:",
        f"{TEST_BOOKS} -k opened_again",
    ),
    Mutant(
        *("R14", "what a replaced segment has no more is taken for delivered", BOOKS),
        "    ledger.miss(name, lost.missing)\n",
        "",
        f"{TEST_BOOKS} -k replaced",
    ),
    Mutant(
        *("R15", "a short write of a letter is not noticed", LETTERS),
        "            if io.write(fd, data) != len(data):\n                raise",
        "            if io.write(fd, data) < 0:\n                raise",
        f"{TEST_FAULTS} -k short",
    ),
    Mutant(
        *("R15", "an error of the disk ends the daemon", DAEMON),
        "        except (sqlite3.Error, OSError, SpoolError) as error:\n            self._failed(error)\n"
        "            return False\n        except Exception as error:\n",
        "        except KeyError as error:\n",
        "tests/lab/logd/test_logd_daemon.py -k step_that_fails",
    ),
    Mutant(
        *("R15", "it tries a full disk again after a minute", DAEMON),
        "LOCAL_RETRY_S = 1.0",
        "LOCAL_RETRY_S = 60.0",
        "tests/lab/logd/test_logd_daemon.py -k local_store",
    ),
    Mutant(
        *("R15", "books that only have no room are thrown away", BOOKKEEPER),
        "    return code is not None and code & 0xFF not in _PASSING\n",
        "    return code is not None\n",
        "tests/lab/logd/test_bookkeeper.py -k no_room",
    ),
    Mutant(
        *("R16", "what the quota refused is a gap", TELLING),
        ' or told.reason != "quota" or ',
        ' or told.reason != "none" or ',
        f"{TEST_STORES} -k r16",
    ),
    Mutant(
        *("R16", "the books count a refusal once per look", LEDGER),
        "            self._count(segment, gap.guid, kind, refused=count)\n",
        "            self._count(segment, gap.guid, kind, refused=2 * count)\n",
        f"{TEST_STORES} -k r16",
    ),
    Mutant(
        *("R17", "each child's segment is taken for the parent's", LEDGER),
        "        segment, seq = segment_of(head.id), seq_of(head.id)\n        if self",
        '        segment, seq = "the one", seq_of(head.id)\n        if self',
        f"{TEST_STORES} -k r17",
    ),
    Mutant(
        *("R18", "books are dropped by the clock alone", LEDGER),
        "KEPT_SEGMENTS = 20_000",
        "KEPT_SEGMENTS = 0",
        f"{TEST_FAULTS} -k r18",
    ),
    Mutant(
        *("R19", "a home that cannot be used is a traceback", LIFE),
        "        except OSError as error:\n            where = ",
        "        except KeyError as error:\n            where = ",
        f"{TEST_FAULTS} -k r19",
    ),
    Mutant(
        *("R20", "each look opens all segments again", WATCH),
        "now = known if is_known else self._look_at(name)",
        "now = self._look_at(name)",
        "tests/lab/logd/test_watch.py -k opened_once",
    ),
    Mutant(
        *("R20", "each look opens what can grow, though it did not", WATCH),
        "return (seen.final or not is_check) and",
        "return seen.final and",
        "tests/lab/logd/test_watch.py -k can_grow",
    ),
    Mutant(
        *("R7", "a segment that can grow is never asked whether somebody writes it", WATCH),
        "return (seen.final or not is_check) and",
        "return",
        "tests/lab/logd/test_watch.py -k can_grow",
    ),
    Mutant(
        *("R20", "the start reads all headers", WATCH),
        "io.pread(segment.fd, 48, 0)",
        "io.pread(segment.fd, 4096, 0)",
        f"{TEST_FAULTS} -k r20 and opens",
    ),
    Mutant(
        *("R20", "the whole backlog is one batch", BATCHES),
        "                left -= end - offset\n",
        "",
        f"{TEST_SHIPPER} -k bytes_at_most",
    ),
    Mutant(
        *("R21", "a later version's segment is taken for damage", WATCH),
        "        if self._is_newer(segment):\n            return None\n",
        "",
        f"{TEST_DAMAGE} -k later_format",
    ),
    Mutant(
        *("R22", "a signal may meet its own lock", SIGNALS),
        RECEPTION,
        LOCKED_RECEPTION,
        f"{TEST_SIGNALS} -k any_step",
    ),
    Mutant(
        *("R22", "a store that hangs holds up the end", DAEMON),
        "STOP_S = 4.0",
        "STOP_S = 40.0",
        f"{TEST_SIGNALS} -k store_that_hangs",
    ),
    Mutant(
        *("R22", "a reload ends it when it begins", LIFE),
        "                self.service.reload()\n",
        "                return 0\n",
        f"{TEST_SIGNALS} -k keeps_the_old_one",
    ),
    Mutant(
        *("R22", "a broken configuration ends it", DAEMON),
        "        except Exception as error:\n            self.routing = before\n",
        "        except KeyError as error:\n            self.routing = before\n",
        f"{TEST_SIGNALS} -k keeps_the_old_one",
    ),
    Mutant(
        *("R22", "what nobody foresaw in a new configuration ends it", DAEMON),
        "        except Exception as error:\n            self.routing = before\n",
        "        except ConfigError as error:\n            self.routing = before\n",
        f"{TEST_DAEMON} -k nobody_foresaw",
    ),
    Mutant(
        *("R22", "it starts though a url cannot be one", LOGD_PROGRAM),
        "for problem in config.wrong_stores(self.home):",
        "for problem in ():",
        f"{TEST_PROGRAM} -k bad_configuration",
    ),
    Mutant(
        *("R22", "it takes a new configuration though a url cannot be one", DAEMON),
        "for problem in config.wrong_stores(self.home):",
        "for problem in ():",
        f"{TEST_DAEMON} -k fails_at_a_store",
    ),
    Mutant(
        *("R22", "the spool is touched before the configuration is read", LOGD_PROGRAM),
        "        self._routing = Routing.read(self.home)\n",
        "        open(self.home + '/.ave/spool/new', 'w').close()\n        self._routing = Routing.read(self.home)\n",
        f"{TEST_SIGNALS} -k touches_no",
    ),
    Mutant(
        *("S16", "a store that others can read takes records", EMBEDDED),
        "        if mode & 0o077:\n",
        "        if mode & 0o7000:\n",
        "tests/lab/logd/test_logd_program.py -k others_can_read",
    ),
    Mutant(
        *("S16", "others may read the books", LEDGER),
        "            os.chmod(path, 0o600)\n",
        "",
        f"{TEST_LEDGER} -k nobody_else",
    ),
]
