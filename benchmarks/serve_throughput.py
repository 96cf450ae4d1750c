"""Throughput of the server with many clients compared with `RewardModel.score`, and a server that is killed under load.

    python benchmarks/serve_throughput.py --checkpoint=runs/helpful

The texts are the responses of the corpus' test comparisons. A round scores all of them, by one call of `score` in one
process, and by requests of --clients clients to a server in another process. The two take turns. Every
answer is compared with the score of the first round of `score`. `/score` requests have --prompts comparisons each.

Then the server is killed (SIGKILL) in the middle of a round and started again. Clients ask again after an error. It
counts the answers and errors, and compares every answer.

Prints Markdown tables and writes them as JSON to --output.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from harness import OURS, Contender, markdown, median, ratio, resident_peak, serve, write_results

Row = dict[str, Any]
PORT = 8471


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, help="a run of configs/helpful.py")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--prompts", default="1,4,16", help="comparisons in a request, several joined by commas")
    parser.add_argument("--comparisons", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("serve_throughput.json"))
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        return worker(json.loads(arguments.worker))
    spec = {"checkpoint": str(arguments.checkpoint), "comparisons": arguments.comparisons, "environment": OURS}
    direct = Contender(__file__, spec)
    expected = np.load(direct.facts["scores"])
    records = json.loads(Path(direct.facts["texts"]).read_text(encoding="utf-8"))
    texts = len(expected)
    rows = []
    for size in map(int, arguments.prompts.split(",")):
        requests = encoded(records, size)
        alone, served = [], []
        with Server(arguments.checkpoint) as server:
            asyncio.run(load(requests, arguments.clients))  # compiles shapes that come up
            for turn in range(arguments.rounds):
                if turn % 2:
                    alone.append(direct.round())
                began, cpu = time.perf_counter(), server.cpu_seconds()
                found, seconds, errors = asyncio.run(load(requests, arguments.clients))
                took = time.perf_counter() - began
                assert not errors
                compare(found, expected)
                served.append(
                    {
                        "texts_per_second": texts / took,
                        "cpu": (server.cpu_seconds() - cpu) / texts,
                        "p50": quantile(seconds, 50),
                        "p99": quantile(seconds, 99),
                    }
                )
                if turn % 2 == 0:
                    alone.append(direct.round())
            metrics = server.requests_in_a_batch()
        share = "{:.0%} ({:.0%} to {:.0%})".format(*ratio(served, alone, "texts_per_second"))
        rows.append(
            {
                "texts in a request": f"{texts / len(requests):.1f}",
                "requests": len(requests),
                "score, texts/s": f"{median(alone, 'texts_per_second'):.0f}",
                "server, texts/s": f"{median(served, 'texts_per_second'):.0f}",
                "share": share,
                "CPU time of score / of the server": f"{median(alone, 'cpu') / median(served, 'cpu'):.0%}",
                "p50, ms": f"{median(served, 'p50'):.0f}",
                "p99, ms": f"{median(served, 'p99'):.0f}",
                "requests in a batch": f"{metrics:.1f}",
            }
        )
        print(markdown(rows), flush=True)
    direct.close()
    killed = kill(arguments.checkpoint, encoded(records, 4), expected, arguments.clients)
    print(markdown([killed]))
    write_results(arguments.output, [*rows, killed])


def encoded(records: list[Row], size: int) -> list[bytes]:
    """Returns the bodies of requests with `size` records each."""
    return [json.dumps({"records": records[i : i + size]}).encode() for i in range(0, len(records), size)]


class Server:
    """A server in a separate process, from its first answer to the end of the block."""

    def __init__(self, checkpoint: Path) -> None:
        self.checkpoint = checkpoint

    def __enter__(self) -> Server:
        script = Path(__file__).resolve().parent.parent / "experiments" / "serve.py"
        command = [sys.executable, str(script), f"--checkpoint={self.checkpoint}", f"--port={PORT}"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert "scores with" in self.process.stdout.readline()
        return self

    def __exit__(self, *error: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()

    def cpu_seconds(self) -> float:
        """Returns the CPU time that the process has taken, as Linux counts it."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def requests_in_a_batch(self) -> float:
        """Returns the mean number of requests that were computed together."""
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/metrics") as answer:
            lines = [line.split() for line in answer.read().decode().splitlines()]
        total, count = (
            float(next(v for k, v in (line for line in lines if len(line) == 2) if k == f"rmjax_batch_requests_{n}"))
            for n in ("sum", "count")
        )
        return total / count


async def load(
    bodies: Sequence[bytes], clients: int, *, kill_at: int = -1, kill_server: Any = None
) -> tuple[list[Any], list[float], int]:
    """Sends all requests; each client has one in progress. Returns the answers, their seconds, and the errors.

    After an error, a client sends its request again. `kill_server` is called after `kill_at` answers. A client writes
    and reads the bytes of HTTP itself, so that little of the machine's time is that of the clients.
    """
    found: list[Any] = [None] * len(bodies)
    seconds: list[float] = []
    errors = answers = 0
    waiting = iter(range(len(bodies)))

    async def client() -> None:
        nonlocal errors, answers
        streams = None
        for number in waiting:
            while found[number] is None:
                began = time.perf_counter()
                try:
                    streams = streams or await asyncio.open_connection("127.0.0.1", PORT)
                    answer = await post(*streams, bodies[number])
                except (OSError, asyncio.IncompleteReadError):
                    errors, streams = errors + 1, None
                    await asyncio.sleep(1)
                    continue
                seconds.append(time.perf_counter() - began)
                found[number] = answer
                answers += 1
                if answers == kill_at:
                    await asyncio.to_thread(kill_server)
        if streams:
            streams[1].close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return found, seconds, errors


async def post(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes) -> bytes:
    """Returns the body of the answer; raises OSError for another status than 200."""
    header = f"POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    writer.write(header.encode() + b"\r\n\r\n" + body)
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    status, length = head.split()[1], head.partition("content-length: ")[2].split()[0]
    answer = await reader.readexactly(int(length))
    if status != "200":
        raise OSError(answer.decode())
    return answer


def kill(checkpoint: Path, requests: Sequence[bytes], expected: np.ndarray, clients: int) -> Row:
    """Returns the row of a server that is killed after a third of the answers, and started again."""
    server = Server(checkpoint).__enter__()

    def restart() -> None:
        server.process.kill()
        server.process.wait()
        server.__enter__()

    found, _, errors = asyncio.run(load(requests, clients, kill_at=len(requests) // 3, kill_server=restart))
    server.__exit__()
    assert errors > 0
    return {
        "requests": len(requests),
        "answered": sum(each is not None for each in found),
        "errors that clients saw": errors,
        "largest difference from score": f"{compare(found, expected):.1e}",
    }


def compare(found: list[Any], expected: np.ndarray) -> float:
    """Returns the largest difference of scores; more than rounding is an error."""
    results = [result for answer in found for result in json.loads(answer)["results"]]
    scores = np.array([score for result in results for score in result["scores"]["helpful"]])
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-3)
    return float(np.abs(scores - expected).max())


def quantile(seconds: list[float], percent: float) -> float:
    """Returns a percentile in milliseconds."""
    return float(np.percentile(seconds, percent)) * 1000


def worker(spec: Row) -> None:
    """Scores all texts with one call of `RewardModel.score`."""
    state: Row = {}

    def one_round() -> Row:
        began, cpu, texts = time.perf_counter(), time.process_time(), len(state["responses"])
        state["scores"] = state["model"].score(state["prompts"], state["responses"])
        return {
            "texts_per_second": texts / (time.perf_counter() - began),
            "cpu": (time.process_time() - cpu) / texts,
        }

    def start() -> Row:
        from rmjax.cli.runtime import prepare_process

        prepare_process()
        import tempfile

        import rmjax
        from rmjax.data.sources import load_comparisons

        state["model"] = rmjax.load(spec["checkpoint"])
        comparisons = load_comparisons("gold/helpful", "test", manual_dir="")[: spec["comparisons"]]
        # Equal prompts share their computation in both ways, as far as they are in one batch.
        state["prompts"] = [c.prompt for c in comparisons for _ in c.responses]
        state["responses"] = [text for c in comparisons for text in c.responses]
        one_round()
        one_round()
        folder = Path(tempfile.mkdtemp())
        np.save(folder / "scores.npy", state["scores"])
        records = [{"prompt": [m._asdict() for m in c.prompt], "responses": c.responses} for c in comparisons]
        (folder / "texts.json").write_text(json.dumps(records), encoding="utf-8")
        return {"scores": str(folder / "scores.npy"), "texts": str(folder / "texts.json")}

    serve(start, one_round, resident_peak)


if __name__ == "__main__":
    main()
