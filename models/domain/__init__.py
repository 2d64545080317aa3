"""The pure rules: values in, values out, the clock an argument (RULES.md)."""
