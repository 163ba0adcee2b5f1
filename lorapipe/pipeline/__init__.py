"""From a YAML file to artifacts: language → plan → run. Knows stages and families only through their registries."""
