"""The one door through which Stripe's JSON becomes values: tolerant of every API version, pure."""
