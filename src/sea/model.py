"""A language model that may be asked: any provider through LangChain's `init_chat_model`, local endpoints too.

What it answers is text from a stranger: whoever asks decodes it strictly and believes nothing. A model that does not
answer is said once and never ends a run. Keys come from the environment, where the provider's package looks for them;
no prompt, no answer and no key is written to the event log.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sea import observe

MOST_CALLS = 60
"""In one run."""
TIMEOUT_S = 60.0
_MOST_WORDS = 200
_SECRET = re.compile("key|token|secret|passw", re.IGNORECASE)
_LEAST_SECRET = 8
_NO_KEY = "none"
"""What a local endpoint that wants no key is sent."""


class NoModel(Exception):
    """A model is named that cannot be asked; the message says what to do."""


@dataclass
class Model:
    """One model, asked a bounded number of times."""

    name: str
    client: Any
    say: Callable[[str], None]
    calls: int = 0
    failures: int = 0
    _said: set[str] = field(default_factory=set)

    def ask(self, purpose: str, rules: str, text: str) -> str | None:
        """Its answer; None when there is none, or it has been asked often enough.

        Args:
            purpose: For the event log: `names`, `repair` or `tools`.
            rules: What it is to do, ours.
            text: What it is about; it may hold what programs and traces say.
        """
        if self.calls >= MOST_CALLS:
            self._tell(f"the model was asked {MOST_CALLS} times; no more in this run")
            return None
        self.calls += 1
        attributes = {"gen_ai.operation.name": "chat", "gen_ai.request.model": self.name}
        with observe.span("chat", purpose=purpose, **attributes) as noted:
            try:
                answer = self.client.invoke([("system", rules), ("human", text)])
            except Exception as error:  # of whatever package the provider has
                self.failures += 1
                noted["failed"] = type(error).__name__
                said = _discreet(error)[:_MOST_WORDS]
                self._tell(f"the model does not answer ({type(error).__name__}: {said}); going on without")
                return None
            used = getattr(answer, "usage_metadata", None) or {}
            noted |= {
                f"gen_ai.usage.{kind}_tokens": int(used.get(f"{kind}_tokens", 0))
                for kind in ("input", "output")
            }
        content = getattr(answer, "content", None)
        return content if isinstance(content, str) else None

    def _tell(self, sentence: str) -> None:
        if sentence not in self._said:
            self._said.add(sentence)
            self.say(sentence)


def configured(name: str | None, url: str | None, say: Callable[[str], None]) -> Model | None:
    """The model that is asked for, by `PROVIDER:NAME`; None when none is.

    Args:
        url: Of an endpoint that speaks OpenAI's protocol; the name needs no provider then, and a key is optional.
        say: Told what is worth knowing, in sentences.

    Raises:
        NoModel: It cannot be asked.
    """
    if not name:
        if url:
            raise NoModel("an endpoint is given, but no model: name one with --model")
        return None
    options: dict[str, Any] = {"temperature": 0, "timeout": TIMEOUT_S, "max_retries": 1}
    wanted = name
    if url:
        wanted = f"openai:{name.removeprefix('openai:')}"
        options |= {"base_url": url, "api_key": os.environ.get("OPENAI_API_KEY") or _NO_KEY}
    try:
        from langchain.chat_models import init_chat_model
    except ImportError:
        raise NoModel("models need packages that are not installed: pip install 'tidepool[models]'") from None
    try:
        client = init_chat_model(wanted, **options)
    except (
        Exception
    ) as error:  # an unknown provider, a package or a key that is not there: its own words say which
        raise NoModel(f"{name}: {_discreet(error)[: 2 * _MOST_WORDS]}") from None
    return Model(name, client, say)


def _discreet(error: Exception) -> str:
    """What it says, without keys of the environment: an endpoint may quote the one it was sent, or its beginning."""
    text = " ".join(str(error).split())
    for name, value in os.environ.items():
        if _SECRET.search(name) and len(value) >= _LEAST_SECRET:
            text = re.sub(rf"{re.escape(value[:_LEAST_SECRET])}\S*", "(a key)", text)
    return text
