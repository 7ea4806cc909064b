"""What the shop has: cards, their ledger, sign-in tokens."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from uuid import UUID, uuid4

from sqlalchemy import BigInteger, ForeignKey, Identity
from sqlalchemy.orm import Mapped, mapped_column

from shared.models.table import Base, by_database


class GiftCard(Base):
    """A card. ``expires_at`` and the versions are derived by triggers; ``balance`` always ends its ledger."""

    __tablename__ = "gift_cards"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    status: Mapped[str] = by_database()
    currency: Mapped[str]
    balance: Mapped[Decimal]
    code_encrypted: Mapped[str]
    code_last4: Mapped[str]
    expires_on: Mapped[date]
    expires_tz: Mapped[str] = by_database()
    expires_at: Mapped[datetime] = by_database()
    expiry_version: Mapped[int] = by_database()
    recipient_name: Mapped[str | None]
    recipient_email: Mapped[str | None]
    recipient_phone: Mapped[str | None]
    recipient_version: Mapped[int] = by_database()
    sender_name: Mapped[str | None]
    personal_message: Mapped[str | None]
    locale: Mapped[str] = by_database()
    time_zone: Mapped[str] = by_database()
    ledger_sequence: Mapped[int] = by_database()
    purchaser_email: Mapped[str | None]
    purchaser_locale: Mapped[str] = by_database()
    expiry_hold: Mapped[str | None]
    created_at: Mapped[datetime] = by_database()
    updated_at: Mapped[datetime] = by_database()


class Transaction(Base):
    """A ledger entry: appended, never changed. Update the card under lock first, then book."""

    __tablename__ = "transactions"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    gift_card_id: Mapped[UUID] = mapped_column(ForeignKey("gift_cards.id"))
    sequence: Mapped[int]
    type: Mapped[str]
    currency: Mapped[str]
    amount: Mapped[Decimal]
    balance_before: Mapped[Decimal]
    balance_after: Mapped[Decimal]
    expiry_version: Mapped[int | None]
    idempotency_key: Mapped[str]
    job_id: Mapped[UUID | None]
    created_at: Mapped[datetime] = by_database()


class RefreshToken(Base):
    """A sign-in token of the shop."""

    __tablename__ = "refresh_tokens"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    user_id: Mapped[UUID]
    parent_id: Mapped[UUID | None] = mapped_column(ForeignKey("refresh_tokens.id"))
    token_hash: Mapped[str]
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = by_database()
