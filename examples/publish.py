"""Send a gift card with Python: pip install giftcard-jobs (here: pip install .), then

RABBITMQ_URL=amqp://… python publish.py 7d9f8a52-6c1e-4b7a-8f3d-2e5c4a1b9d08
"""

import os
import sys
from uuid import UUID

from giftcard_jobs.messages import DeliverGiftCard
from giftcard_jobs.publisher import Publisher

gift_card_id = UUID(sys.argv[1])

with Publisher(os.environ["RABBITMQ_URL"], source="python-shop") as publisher:
    job_id = publisher.send(
        DeliverGiftCard(gift_card_id=gift_card_id, method="email"),
        dedupe_key=f"gift:{gift_card_id}",  # asked for twice, done once
    )

print(f"job {job_id} is asked for")  # the broker has it: send() raises if not
