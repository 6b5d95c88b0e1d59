"""What somebody would write instead of Lumbre, to be measured beside it.

Each is the usual way of its library's documentation.  They run in an environment of their own
(`loadtest.budgets.environment`), with the addresses of their servers in AMQP_URL and REDIS_URL.
"""
