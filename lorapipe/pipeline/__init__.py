"""The engine: loader (YAML → Pipeline) → plan (+ ledger) → execution (→ artifacts). Stages are known by registry alone."""
