"""Chat templates that take too long, take too much memory, or raise: one sentence each."""

import time

import pytest

from rmjax.data import template_limits
from rmjax.data.bpe import train_bpe
from rmjax.data.template_limits import limited
from rmjax.data.tokenizer import Tokenizer
from rmjax.errors import InputError

TEXT = "{% for message in messages %}{{ message.content }}{% endfor %}"
LOOP = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
DOUBLE = "{% set ns = namespace(a='a' * 1000) %}{% for i in range(40) %}{% set ns.a = ns.a ~ ns.a %}{% endfor %}"

TEMPLATES = {
    "an endless loop": (LOOP + TEXT, "the chat template takes more than"),
    "a doubled text": (DOUBLE + TEXT, "the chat template"),
    "a long text": ("{{ 'a' * 100000000000 }}" + TEXT, "refuses every conversation: MemoryError"),
    "a wide text": ("{{ 'a'.ljust(100000000000) }}" + TEXT, "refuses every conversation: MemoryError"),
    "endless recursion": ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "maximum recursion depth"),
    "a syntax error": ("{% for", "refuses every conversation"),
    "a division by zero": ("{{ 1 / 0 }}", "division by zero"),
    "a wrong type": ("{{ 'a' + 1 }}", "can only concatenate"),
    "an unknown name": ("{{ a.b.c }}", "'a' is undefined"),
    "raise_exception": ("{{ raise_exception('no') }}", "refuses every conversation: no"),
    "no content": ("hello", "does not write a question and its answer once each"),
    "internals": ("{{ ''.__class__.__mro__ }}" + TEXT, "refuses every conversation"),
    "a number": (3, "a chat template that is no text"),
    "several templates": ({"default": TEXT}, "a chat template that is no text"),
}


@pytest.fixture
def quick(monkeypatch):
    """Limits that a test reaches soon."""
    defaults = limited.__wrapped__.__kwdefaults__
    monkeypatch.setitem(defaults, "seconds", 0.3)
    monkeypatch.setitem(defaults, "memory", 2**28)


@pytest.mark.parametrize("case", TEMPLATES)
def test_a_hostile_template_is_refused(quick, case):
    template, message = TEMPLATES[case]
    hf = train_bpe(["abc"], 300)
    hf.chat_template = template
    with pytest.raises(InputError) as refused:
        Tokenizer(hf, max_prompt=20, max_response=10)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_template_that_waits_for_a_text_is_stopped_too(quick):
    hf = train_bpe(["abc"], 300)
    hf.chat_template = "{% if messages[0].content == 'now' %}" + LOOP + "{% endif %}" + TEXT + "|"
    tokenizer = Tokenizer(hf, max_prompt=20, max_response=10)
    (prompt,) = tokenizer.encode_prompts([(message("then"),)])
    assert len(prompt.ids)
    with pytest.raises(InputError, match=r"takes more than 0\.3 seconds"):
        tokenizer.encode_prompts([(message("now"),)])


def message(content):
    from rmjax.data.comparisons import Message

    return Message("user", content)


def test_memory_that_grows_step_by_step_is_stopped():
    held = []

    @limited(0, seconds=60, memory=2**26)
    def grow():
        while True:
            held.append(bytearray(2**20))

    with pytest.raises(InputError, match="takes more than 64 MiB of memory"):
        grow()
    assert len(held) < 10_000


def test_waiting_is_not_computing():
    """A busy machine makes no template too slow."""
    with limited(0, seconds=0.05):
        time.sleep(0.5)


def test_no_exception_comes_after_the_end(monkeypatch):
    """The exception that the watching thread raises is taken back if the body has ended before it came."""
    monkeypatch.setattr(template_limits, "INTERVAL", 0.0)
    for _ in range(50):
        try:
            with limited(0, seconds=0.0):
                pass
        except InputError:
            continue
        sum(range(1000))
