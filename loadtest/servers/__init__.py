"""Private RabbitMQ and PostgreSQL servers, for tests, `make chaos` and `make bench`.

Each has its own ports on loopback, its own data and its own end: none outlives the process that
started it, however that process dies.  Linux only.
"""

from loadtest.servers.certificate import Certificates as Certificates
from loadtest.servers.guarded import Missing as Missing
from loadtest.servers.guarded import ServerError as ServerError
from loadtest.servers.postgres import PostgresServer as PostgresServer
from loadtest.servers.rabbit import QueueRow as QueueRow
from loadtest.servers.rabbit import RabbitServer as RabbitServer
