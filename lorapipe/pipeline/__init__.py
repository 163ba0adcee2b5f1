"""The engine: loader (YAML → Pipeline) → plan (+ ledger) → execution (→ artifacts). It knows stages only by registry."""
