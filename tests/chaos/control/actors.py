"""The mail job as it is usually written: stock Dramatiq, its Retries, default confirms, resend on any error."""

from __future__ import annotations

import os
import smtplib
from email.message import EmailMessage

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker

QUEUE = "mails"


def broker(url: str) -> RabbitmqBroker:
    """Give a broker as its own guide makes it."""
    return RabbitmqBroker(url=url)


# In the worker process the URL is that of the services, whose virtual host is not the control's.
_services_url = os.environ.get("JOBS_RABBITMQ_URL", "amqp://localhost/")
dramatiq.set_broker(broker(_services_url.rpartition("/")[0] + "/control"))


@dramatiq.actor(queue_name=QUEUE, max_retries=20, min_backoff=1000, max_backoff=5000)
def send_mail(to: str, number: int) -> None:
    """Send a mail."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "shop@example.com", to, "Your gift card"
    message["Message-ID"] = f"<control-{number}@example.com>"
    message.set_content("Here it is.")
    host, port = os.environ["JOBS_SMTP_HOST"], int(os.environ["JOBS_SMTP_PORT"])
    with smtplib.SMTP(host, port, timeout=5) as smtp:
        smtp.send_message(message)
