"""A broker that is a RabbitMQ server, 3.10 or newer, over pika."""

from runtime.brokers.rabbitmq.address import Address as Address
from runtime.brokers.rabbitmq.address import Tls as Tls
from runtime.brokers.rabbitmq.broker import RabbitBroker as RabbitBroker
from runtime.brokers.rabbitmq.checkup import examine_management as examine_management
from runtime.brokers.rabbitmq.checkup import examine_server as examine_server
from runtime.brokers.rabbitmq.server import ServerInfo as ServerInfo
from runtime.brokers.rabbitmq.timeouts import check_timeout as check_timeout
