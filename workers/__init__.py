"""What we do with it: the queue, the steps, the calls to Stripe, the clock."""
