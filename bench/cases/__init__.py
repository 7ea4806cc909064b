"""What is measured: one module per letter."""

from bench.cases import due, expire, history, imports, latency, letters, noop, pages, publish, standing, sweep, tokens

CASES = {
    case.key: case
    for module in (publish, noop, expire, sweep, due, latency, letters, tokens, standing, imports, pages, history)
    for case in module.CASES
}
