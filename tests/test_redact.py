"""What must never reach the spool, what must reach it unharmed, and the short way past both."""

# ruff: noqa: SIM905 - tables of words are easier to read as words

import base64
import copy
import json
import random
import string
import uuid

import pytest

from ave import redact as redaction
from ave.record import DEPTH_MAX
from ave.redact import MASK, is_clean, is_secret_name, names, redact, shapes

ALNUM = string.ascii_letters + string.digits
UPPER = string.ascii_uppercase + string.digits


def texts(body: dict) -> str:
    """Return what the spool hands to is_clean beside a body."""
    return "\n".join(value for value in body.values() if isinstance(value, str))


def dumped(body):
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))


def shown(text):
    """What remains of a text."""
    return redact({"text": text})["text"]


# 200 planted secrets: each family yields a secret, a body with it, and a flat body with it


def password(rnd):
    return "".join(rnd.choices(ALNUM, k=rnd.randint(8, 24))) + str(rnd.randint(0, 9))


def in_env(rnd):
    secret = password(rnd)
    name = rnd.choice("AWS_SECRET_ACCESS_KEY DB_PASSWORD NPM_TOKEN MYSQL_PWD DEPLOY_LOGIN FOO KUBECONFIG_DATA".split())
    variables = {"PATH": "/usr/bin", "HOME": "/home/ave", name: secret}
    lines = [f"{name}={value}" for name, value in variables.items()]
    environment = rnd.choice([variables, lines, [{"name": name, "value": secret}], [[name, secret]]])
    key = rnd.choice(["environment", "environ", "env"])
    return secret, {"exe": "/jobs/a", key: environment}, {key: "\n".join(lines)}


def in_argv(rnd):
    secret = password(rnd)
    flag = rnd.choice(["--password", "--api-key", "--auth-token", "-passphrase", "--client-secret", "--db.password"])
    argv = rnd.choice([["run", flag, secret, "-v"], ["run", f"{flag}={secret}", "-v"]])
    text = rnd.choice([" ".join(argv), repr(argv), json.dumps(argv)])
    return secret, {"command": argv, "n": 1}, {"message": f"failed: {text}"}


def in_url(rnd):
    secret = password(rnd)
    scheme = rnd.choice(["https", "mysql+pymysql", "amqp", "redis", "ftp", "git+https"])
    place = rnd.choice(
        [
            f"ave:{secret}@lab-db:3306/x",
            f"{secret}@lab/x?a=b@c",
            f":{secret}@10.0.0.1",
            f"ave:x/{secret}@lab/x",
            f"lab/x?user=ave&access_token={secret}&n=1",
        ]
    )
    return (
        secret,
        {"stores": [{"url": f"{scheme}://{place}"}]},
        {"message": f"cannot reach {scheme}://{place}: time-out"},
    )


def in_headers(rnd):
    secret = password(rnd)
    name, value = rnd.choice(
        [
            ("Authorization", f"Bearer {secret}"),
            ("Proxy-Authorization", f"Digest user=ave, response={secret}"),
            ("Cookie", f"lang=sv; sid={secret}; x=1"),
            ("Set-Cookie", f"sid={secret}; Path=/"),
            ("X-Api-Key", secret),
            ("X-Auth-Token", secret),
        ]
    )
    wire = f"GET / HTTP/1.1\r\nHost: lab\r\n{name}: {value}\r\nAccept: */*\r\n"
    pairs = [(name, value)]
    header = {"name": name, "value": value}
    headers = rnd.choice([{name: value}, {name.lower(): [value]}, [list(pairs[0])], [header], wire, repr(pairs)])
    curl = {"text": f"curl -H '{name}: {value}' http://lab"}
    return secret, {"request": {"headers": headers}}, rnd.choice([{name: value}, {"text": wire}, curl, header])


def in_locals(rnd):
    secret = password(rnd)
    value = rnd.choice([secret, {"user": "ave", "x": secret}, [secret], f"b'{secret}'"])
    found = {"self": "<Control>", "port": 4000, rnd.choice(SECRET_NAMES): value}
    text = rnd.choice([repr(found), json.dumps(found), json.dumps({"body": json.dumps(found)})])
    return secret, {"exception": {"frames": [{"locals": found}]}}, {"message": f"locals {text}"}


def nested(rnd):
    secret, body, flat = rnd.choice([in_env, in_argv, in_url, in_headers, in_locals, cloud_key, jwt])(rnd)
    for level in range(40):
        body = {f"level{level}": body} if rnd.random() < 0.5 else {"items": [level, body]}
    return secret, body, flat


def in_text_of_bytes(rnd):
    secret = password(rnd)
    name = rnd.choice(SECRET_NAMES)
    said = rnd.choice(
        [
            f"{name}={secret}",
            f"{name}: {secret}",
            f'{name} = "{secret}"',
            f"{name} => '{secret}'",
            f"<{name}>{secret}</{name}>",
            f"Server=lab;{name}={secret};Database=x",
            f"login(user='ave', {name}='{secret}')",
        ]
    )
    text = rnd.choice([said, str(f"x\n{said}\n".encode()), f"\u00e5\u00e4\u00f6 \\xff {said}"])
    return secret, {"stdout": [text]}, {"stream": "stdout", "text": text, "offset": 17}


def pem(rnd):
    lines = [base64.b64encode(rnd.randbytes(48)).decode() for _ in range(rnd.randint(3, 12))]
    kind = rnd.choice(["RSA PRIVATE KEY", "PRIVATE KEY", "OPENSSH PRIVATE KEY", "PGP PRIVATE KEY BLOCK"])
    whole = [f"-----BEGIN {kind}-----", *lines, f"-----END {kind}-----"]
    text = rnd.choice(["\n", "\r\n", "\\n"]).join(rnd.choice([whole, whole[:-1], whole[1:]]))
    return rnd.choice(lines), {"files": {"lab.key": rnd.choice([f"read:\n{text}", whole])}}, {"message": text}


def jwt(rnd):
    parts = (b'{"alg":"HS256"}', rnd.randbytes(30), rnd.randbytes(32))
    secret = ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)
    return secret, {"result": [f"got {secret}"]}, {"message": f"{rnd.choice(['jwt', 'sent:', '('])} {secret}.", "n": 3}


def cloud_key(rnd):
    prefix, length = rnd.choice(CLOUD_KEYS)
    secret = prefix + "".join(rnd.choices(UPPER if prefix in {"AKIA", "ASIA"} else ALNUM, k=length - 1)) + "7"
    text = rnd.choice([f"using {secret}", f'{{"id":"{secret}"}}', f"https://lab/{secret}/x", f"a\n{secret}\nb"])
    return secret, {"args": [[text]]}, {"message": text}


CLOUD_KEYS = [
    *[("AKIA", 16), ("ASIA", 16), ("AIza", 35), ("ghp_", 36), ("gho_", 36), ("ghs_", 36), ("github_pat_", 60)],
    *[("glpat-", 20), ("xoxb-", 24), ("xoxp-", 40), ("xapp-", 40), ("sk-", 48), ("sk-proj-", 60), ("sk_live_", 24)],
    *[("npm_", 36), ("pypi-", 60), ("hf_", 34), ("hvs.", 24), ("dckr_pat_", 27), ("whsec_", 32), ("tskey-", 30)],
]

SECRET_NAMES = """
    password passwd passphrase pwd secret token api_key apiKey x-api-key APIKEY access_key private_key secretKey
    auth_key session_key signing-key encryption.key authkey authkeys authorization proxy-authorization cookie set-cookie
    credential credentials bearer client_secret connection_string db_password DB_PASSWORD userPassword password2
    MYSQL_PWD accessToken refresh_token csrftoken AWS_SECRET_ACCESS_KEY secret_id sshkey smtp_pass http_auth jwt
    passWord PGPASSWORD token_github""".split()

ORDINARY_NAMES = """
    token_count max_tokens password_policy key keyboard monkey public_key primary_key keys author tokenizer secretary
    cookies_enabled tokens total_tokens has_password is_secret token_type password_length auth_url cache_key sort_key
    access_key_id passed bypass compass pass author_name authenticated secret_name keyword passage pwm cookie_policy
    requires_token tokenized host test_wrong_password_is_refused test_token.py KeyError InvalidTokenError access
    key_path PWD cwd credit_limit""".split()

FAMILIES = [in_env, in_argv, in_url, in_headers, in_locals, nested, in_text_of_bytes, pem, jwt, cloud_key]
PLANTED = [FAMILIES[number % len(FAMILIES)](random.Random(number)) for number in range(200)]


def test_none_of_200_planted_secrets_is_left():
    left = [(secret, body) for secret, body, _ in PLANTED if secret in dumped(redact(body)).replace("\\/", "/")]
    assert left == []


def test_none_of_200_planted_secrets_is_left_of_a_flat_body():
    left = [(secret, flat) for secret, _, flat in PLANTED if secret in dumped(redact(flat))]
    assert left == []


@pytest.mark.parametrize("value", [["password", "hunter2"], ["-password", "hunter2"], [["password", "hunter2"]]])
def test_in_a_list_a_plain_word_may_name_a_secret(value):
    body = {"rows": [value]}
    assert "hunter2" not in dumped(redact(body)) or value == ["password", "hunter2"]
    assert not is_clean(body, "password\nhunter2", ("rows",), has_lists=True)


def test_the_short_way_never_lets_a_planted_secret_pass():
    passed = [flat for _, _, flat in PLANTED if is_clean(flat, texts(flat))]
    assert passed == []


def test_all_planted_secrets_were_there_to_be_found():
    assert all(secret in dumped(body) and secret in dumped(flat) for secret, body, flat in PLANTED)


def test_the_argument_is_never_changed():
    for _, body, _ in PLANTED:
        before = copy.deepcopy(body)
        redact(body)
        assert body == before


def test_what_was_redacted_once_is_not_touched_again():
    for _, body, _ in PLANTED:
        once = redact(body)
        assert redact(once) is once


# ordinary values stay


SENTENCES = """
    the token has expired
    wrong password for user ave
    no key was given
    press any key to continue
    Enter the password and press OK
    unexpected token ';' at line 3
    KeyError: 'serial'
    the secret of a good test is patience
    primary key violated in table runs
    Basic authentication is used
    bearer of bad news
    keyboard interrupt
    asked for a password, got a prompt instead
    the credentials were accepted
    basic smoke-test done
    authorization failed: 403
    token count: 512, max_tokens=1024
    passed=17 failed=2 skipped=1
    password policy: min 8
    collected 43 items
    ave.token_store: state: idle -> busy, retry=3
    GET /keys 200 OK
    loading tests/test_token.py:12
    tests/auth/test_login.py::test_wrong_password
    tests/auth/test_cookie.py::test_cookie[sid=1]
    tests/keys/test_token.py::test_key_rotation[a-1]""".strip().splitlines()


def sentence(rnd):
    return rnd.choice(SENTENCES).strip() + rnd.choice(
        ["", ".", f" ({rnd.randint(1, 99)})", f" after {rnd.random():.3f} s"]
    )


def log_line(rnd):
    clock = f"2024-{rnd.randint(1, 12):02}-28 {rnd.randint(0, 23):02}:07:59,{rnd.randint(0, 999):03}"
    return f"{clock} {rnd.choice(['INFO', 'WARNING'])} {rnd.choice(['worker', 'urllib3.pool'])}: {sentence(rnd)}"


ORDINARY = [
    sentence,
    log_line,
    lambda rnd: f"/var/lib/{rnd.choice(['jenkins', 'secrets', 'tokens'])}/job-{rnd.randint(1, 999)}/out.log",
    lambda rnd: f"C:\\lab\\run{rnd.randint(1, 99)}\\key.txt",
    lambda rnd: rnd.randbytes(rnd.choice([16, 20, 32])).hex(),
    lambda rnd: str(uuid.UUID(int=rnd.getrandbits(128))),
    lambda rnd: f"https://lab.example.com:8443/job/{rnd.randint(1, 99)}/artifact?path=a@b&n={rnd.randint(1, 9)}#key",
    lambda rnd: f"{rnd.choice(['anna', 'bo.ek'])}@{rnd.choice(['example.com', 'lab.example.org'])}",
    lambda rnd: rnd.choice([f"{rnd.random():.6f}", "12:34:56", "1 h 2 min", "0 days, 3:04:05"]),
    lambda rnd: rnd.choice(["\u00c5sa Lind", "yuga", "SM-1234", "passed", "Tokyo", "Basic", "sk-SK", "monkey"]),
    lambda rnd: f"sha256-{base64.b64encode(rnd.randbytes(32)).decode()}",
    lambda rnd: rnd.choice([rnd.randint(0, 10**9), rnd.random(), True, None]),
]


def test_at_most_one_in_a_hundred_ordinary_values_is_changed():
    rnd = random.Random(7)
    values = [rnd.choice(ORDINARY)(rnd) for _ in range(10_000)]
    changed = [value for value in values if redact({"value": value}) != {"value": value}]
    assert len(changed) <= 100, changed[:20]


def test_most_ordinary_values_take_the_short_way():
    rnd = random.Random(8)
    bodies = [{"level": "info", "step": step, "message": rnd.choice(ORDINARY)(rnd)} for step in range(1000)]
    assert sum(is_clean(body, texts(body)) for body in bodies) >= 990


@pytest.mark.parametrize("name", ORDINARY_NAMES)
def test_an_ordinary_name_keeps_its_value(name):
    assert not is_secret_name(name)
    body = {name: {"n": "17"}}
    assert redact(body) is body


# names


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_the_value_of_a_secret_name_goes_whole(name):
    assert is_secret_name(name)
    for value in ("x", 17, 1.5, {"a": "b"}, ["a", {"b": 1}]):
        assert redact({name: value, "n": 1}) == {name: MASK, "n": 1}
        assert not is_clean({name: "x"}, texts({name: "x"}))


def test_of_a_secret_name_nothing_stays_nothing():
    body = {"password": None, "token": "", "secret": False, "cookies": {}, "credentials": []}
    assert redact(body) is body


def test_a_long_name_is_judged_by_its_end():
    assert is_secret_name("x" * 100_000 + "_password")
    assert redact({"x" * 100_000 + "_password": "hunter2"}) == {"x" * 100_000 + "_password": MASK}


# environments


@pytest.mark.parametrize("key", ["env", "environ", "environment", "os.environ", "Env"])
def test_of_an_environment_only_public_variables_are_kept(key):
    public = {
        "LANG": "C",
        "LC_ALL": "C",
        "PATH": "/bin:/usr/bin",
        "VCSJOB_GUID": "g" * 10,
        "CI": "true",
        "BUILD_URL": "http://ci/1",
        "PWD": "/x",
    }
    assert redact({key: {**public, "EDITOR": "vi"}}) == {key: {**public, "EDITOR": MASK}}


def test_public_variables_still_go_through_the_shapes():
    assert redact({"env": {"BUILD_URL": "http://u:pw@ci/1"}}) == {"env": {"BUILD_URL": f"http://{MASK}@ci/1"}}
    assert redact({"env": {"VCSJOB_TOKEN": "abc"}}) == {"env": {"VCSJOB_TOKEN": MASK}}


def test_an_environment_may_be_a_list_or_a_text():
    assert redact({"env": ["LANG=C", "EDITOR=vi"]}) == {"env": ["LANG=C", f"EDITOR={MASK}"]}
    assert redact({"env": "LANG=C\0EDITOR=vi\0TZ=UTC"}) == {"env": f"LANG=C\0EDITOR={MASK}\0TZ=UTC"}
    staging = {"environment": "staging"}
    assert redact(staging) is staging
    assert is_clean(staging, texts(staging))


# shapes


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("https://ave:pw@lab/x?a=1", f"https://{MASK}@lab/x?a=1"),
        ("ssh://git@lab/x", f"ssh://{MASK}@lab/x"),
        ("http://lab:80/x@y", "http://lab:80/x@y"),
        ("Authorization: Basic YXZlOnB3", f"Authorization: {MASK}"),
        ("sent Basic YXZlOmh1bnRlcjI= to it", f"sent Basic {MASK} to it"),
        ("sent Bearer abc123 to it", f"sent Bearer {MASK} to it"),
        ("--password 'two words' -v", f"--password '{MASK}' -v"),
        ("--password=pw -v", f"--password={MASK} -v"),
        ("--password --verbose", "--password --verbose"),
        ("-p pw", "-p pw"),
        ("password=pw, user=ave", f"password={MASK}, user=ave"),
        ("password=p,w;x&y, user=ave", f"password={MASK}, user=ave"),
        ("Database=x;Password=pw;User=ave", f"Database=x;Password={MASK};User=ave"),
        ("?token=pw&user=ave", f"?token={MASK}&user=ave"),
        ("(password=pw)", f"(password={MASK})"),
        ('{"password": "a\\"b", "n": 1}', f'{{"password": "{MASK}", "n": 1}}'),
        ('{\\"password\\": \\"a\\\\\\"b\\", \\"n\\": 1}', f'{{\\"password\\": \\"{MASK}\\", \\"n\\": 1}}'),
        ('{"cookies": {"sid": "}x"}, "n": 1}', f'{{"cookies": {MASK}, "n": 1}}'),
        ("credentials=('ave', 'pw'), n=1", f"credentials={MASK}, n=1"),
        ('{"token": ["cut off', f'{{"token": {MASK}'),
        ("password='cut off", f"password='{MASK}"),
        ("token: (half\nnext line", f"token: {MASK}\nnext line"),
        ("Password: two words\nUser: ave", f"Password: {MASK}\nUser: ave"),
        ("now Cookie: a=b; c=d\nnext", f"now Cookie: {MASK}\nnext"),
        ("'Cookie: a=b; c=d' http://lab", f"'Cookie: {MASK}' http://lab"),
        ("password: str = 'pw'", f"password: {MASK}"),
        ("def f(a, password: str = 'pw'): ...", f"def f(a, password: {MASK}'): ..."),
        ("--cookie a=b --verbose", f"--cookie {MASK} --verbose"),
        ("def f(password: str, token=None): ...", "def f(password: str, token=None): ..."),
        ("environ['API_KEY'] = 'pw'", f"environ['API_KEY'] = '{MASK}'"),
        ('"a\\npassword: pw"', f'"a\\npassword: {MASK}"'),
        ("assert token == 'abc'", f"assert token == '{MASK}'"),
        ("<Password a='1'>pw</Password><n>1</n>", f"<Password a='1'>{MASK}</Password><n>1</n>"),
        ("x -----BEGIN PRIVATE KEY----- MII", f"x {MASK}"),
        ("the file: MII\nabc=\n-----END PRIVATE KEY-----\ny", f"the file:{MASK}\ny"),
        (
            "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----",
            "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----",
        ),
        ("password=", "password="),
        ("password=***", "password=***"),
        ("Token::parse", "Token::parse"),
        ("the API key: pw1 was sent", f"the API key: {MASK} was sent"),
        ("the sort key: pw1 was used", "the sort key: pw1 was used"),
        ('"a\\nPWD=/home\\nMYSQL_PWD=pw"', f'"a\\nPWD=/home\\nMYSQL_PWD={MASK}"'),
        ('"a\\nAuthorization: pw"', f'"a\\nAuthorization: {MASK}'),
    ],
)
def test_a_shape_loses_its_secret_and_no_more(text, left):
    assert shown(text) == left


def test_the_lines_of_a_private_key_go_one_by_one_too():
    lines = ["open", "-----BEGIN PRIVATE KEY-----", "MIIEvQ", "Zm9vYmFy", "-----END PRIVATE KEY-----", "close"]
    assert redact({"lines": lines}) == {"lines": ["open", MASK, MASK, MASK, MASK, "close"]}


def test_the_word_after_a_secret_flag_goes():
    assert redact({"argv": ["a", "--token", "x", "--port", "1"]}) == {"argv": ["a", "--token", MASK, "--port", "1"]}
    argv = {"argv": ["a", "--token", "--port", "1"]}
    assert redact(argv) is argv


def test_a_key_with_a_secret_in_it_is_masked_and_no_value_is_lost():
    first, second = "ghp_" + "a" * 36, "ghp_" + "b" * 36
    assert redact({first: 1, second: 2}) == {MASK: 1, MASK + "'": 2}


def test_what_lies_too_deep_is_dropped_not_passed():
    body = leaf = {}
    for _ in range(DEPTH_MAX - 2):
        leaf["a"] = {}
        leaf = leaf["a"]
    leaf["here"] = ["kept", {"password": "hunter2", "plain": "gone"}]
    text = dumped(redact(body))
    assert "kept" in text
    assert "hunter2" not in text
    assert "gone" not in text
    assert f"deeper than {DEPTH_MAX} levels" in text


def test_a_body_without_secrets_is_returned_itself():
    body = {
        "a": [1, 2.5, None, True, {"b": "c", "d": []}],
        "message": "the token has expired",
        "mail": "anna@example.com",
    }
    assert redact(body) is body


def test_strings_of_any_characters_do_no_harm():
    for text in ("\ud800 password=x", "\0", "\u212aey=1", "\u00e5", "", "=", "password", "--", "\\"):
        redact({"text": text, text: text, "env": text, "list": [text, [text, text]]})


# the short way


PIECES = [
    *"pass word phrase pwd pw secret token tokens key api private auth connection string db http x amz".split(),
    *"signature cookie creds".split(),
    *"jwt psk Bearer Basic authorization env AKIA ASIA AIza ghp_ github_pat_ glpat- glrt- xoxb-".split(),
    *"xapp- whsec_ eyJ sk- sk_live_ npm_ pypi- hf_ hvs. tskey- PRIVATE -----BEGIN :// @ = : == => , -- - _ .".split(),
    *"\" ' \\ / < > [ ] ( ) A7f9aZ0123456789ABCDEFGHIJabcdefghijABCD 9 \u017f \u0001 count".split(" "),
    *[" ", "\n", "PRIVATE KEY-----"],
]


def test_the_first_look_suspects_all_that_the_rules_find():
    rnd = random.Random(9)
    for _ in range(5000):
        key, text = ("".join(rnd.choices(PIECES, k=rnd.randint(1, 8))) for _ in range(2))
        body = {key: text}
        if rnd.random() < 0.3:
            body = {key.upper(): text.lower()}
        if is_clean(body, texts(body)):
            ((key, text),) = body.items()
            assert not is_secret_name(key), body
            assert (shapes.masked(key), shapes.masked(text)) == (key, text)
            assert not names.is_environment(key) or shapes.variables_masked(text) == text


def test_what_was_seen_innocent_says_nothing_about_other_letters(monkeypatch):
    monkeypatch.setattr(redaction, "_seen", {})
    for number in range(3):
        body = {"message": f"step={number} done", "n": number}
        assert is_clean(body, texts(body))
    assert len(redaction._seen) == 1
    body = {"message": "step 1 done", "pin": "ghp_" + "1" * 36}
    assert not is_clean(body, texts(body))
    body = {"message": "step 1 done", "pin": "ghp_1"}
    assert is_clean(body, texts(body))


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(redaction, "_seen", {})
    rnd = random.Random(1)
    for _ in range(redaction.SEEN_MAX + 10):
        body = {"message": "=" + "".join(rnd.choices("mnlr", k=20))}
        assert is_clean(body, texts(body))
    assert len(redaction._seen) == 10
    body = {"message": "m" * 100_000}
    assert is_clean(body, texts(body))
    assert len(redaction._seen) == 10


# a pattern that takes more than linear time would hang here


@pytest.mark.parametrize(
    "piece",
    [
        *["a", "a=", "A", "-", "\\", " ", "@", '\\"', "://", "://a:b", "<a", "eyJ", "eyJaaaaaa.", "sk-", "xoxb"],
        *["password=", "password=[", "password='", "password=\\'", "password=a,b", "password: a\n", "\npassword: ("],
        *["Cookie: a ", '"Cookie: a" ', "<password>", "basic a", "bearer ", "--token ", "('token', "],
        *["-----BEGIN PRIVATE KEY", "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----\n"],
    ],
)
def test_hostile_text_takes_linear_time(piece):
    redact({"text": "token=@ " + piece * (250_000 // len(piece))})
    redact({piece * 5_000: 1})
