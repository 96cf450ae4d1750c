"""Scores over HTTP, from a trained reward model.

    python experiments/serve.py --checkpoint=runs/helpful --port=8000
    curl -s -H 'Content-Type: application/json' -d '{"prompt": "Hi!", "responses": ["Hello."]}' localhost:8000/score

The page at http://127.0.0.1:8000/ scores what you type, and shows what each token adds. Programs use:

    POST /score        a record as in experiments/score.py, or {"records": [...]}
    POST /get_reward   OpenRLHF: --remote_rm_url=http://127.0.0.1:8000/get_reward
    POST /classify     vLLM, as /pooling
    GET /health, GET /metrics (Prometheus), GET /v1/models

Requests of all clients are computed together. A full queue answers 429, a large body 413, and a server that stops 503,
each with one sentence: {"error": "..."}. Ctrl-C or SIGTERM answers the requests in progress and ends. The server
listens to this machine only; for another --host set the environment variable RMJAX_TOKEN to a secret. docs/serving.md
has the forms of all requests and answers.
"""

from __future__ import annotations

import os
from pathlib import Path

from absl import flags

from rmjax.cli import checkpoint_flags, runtime, script
from rmjax.errors import InputError


def main() -> None:
    try:
        from rmjax.serving.app import ServerLimits, make_app
        from rmjax.serving.web import TOKEN, Address, make_server, run
    except ModuleNotFoundError as error:
        raise InputError(f'the server needs {error.name}: run `pip install -e ".[serve]"`') from None
    from rmjax.data.pretrained_tokenizer import open_tokenizer
    from rmjax.serving.served import Served
    from rmjax.serving.warm_up import warm_up

    arguments = flags.FLAGS
    limits = ServerLimits(
        waiting_tokens=arguments.max_waiting,
        batch_tokens=arguments.max_batch,
        body_bytes=arguments.max_body,
        seconds=arguments.timeout,
        connections=arguments.max_connections,
    )
    address = Address(arguments.host, arguments.port, os.environ.get(TOKEN, ""))
    address.bind().close()  # an address in use is told before the model is loaded
    policy = open_tokenizer(arguments.policy, max_prompt=2, max_response=1) if arguments.policy else None
    print(f"loading {','.join(arguments.checkpoint)} ...", flush=True)
    model = checkpoint_flags.load_checkpoint()
    name = arguments.name or Path(arguments.checkpoint[0]).resolve().name
    served = Served.create(model, name, head=arguments.head, scale=arguments.scale, policy=policy)
    warm_up(served, limits.batch_tokens)

    def ready(url: str) -> None:
        print(f"{url} scores with {served.model!r}; Ctrl-C ends it", flush=True)

    app = make_app(served, address, limits)
    run(make_server(app, connections=limits.connections, seconds=limits.seconds), address, ready)
    print("stopped: every request that was taken is answered")


if __name__ == "__main__":
    runtime.prepare_process()
    checkpoint_flags.define()
    flags.DEFINE_string("host", "127.0.0.1", "Address to listen at; another than this machine's needs RMJAX_TOKEN.")
    flags.DEFINE_integer("port", 8000, "Port to listen at; 0: a free one.")
    flags.DEFINE_string("name", "", "Name of the model for clients; empty: that of its folder.")
    flags.DEFINE_string("head", None, "Head of /get_reward, /classify and /pooling; optional if there is a single one.")
    flags.DEFINE_enum("scale", "raw", ["raw", "normalized", "probability"], "Scale of /get_reward.")
    flags.DEFINE_string(
        "policy", "", "Tokenizer whose chat template rendered the texts of clients; empty: the model's."
    )
    flags.DEFINE_integer("max_waiting", 2**20, "Tokens that may wait in the queue, estimated.")
    flags.DEFINE_integer("max_batch", 2**15, "Tokens that are computed together, estimated.")
    flags.DEFINE_integer("max_body", 2**24, "Bytes of a request.")
    flags.DEFINE_integer("max_connections", 1024, "Connections at a time.")
    flags.DEFINE_integer("timeout", 60, "Seconds until a request is answered, and for requests in progress at the end.")
    script.run(main)
