"""The steps of `order_saga.yaml`: three services of a shop, each with what undoes it, over plain files.

Each may be attempted more than once, so each writes under a key that stays the same: as with a payment service, a
second request with the same key changes nothing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stepwell import Context, Fail


def reserve(order: str, folder: str, context: Context) -> str:
    """Take the goods off the shelf; gives the number of the reservation."""
    return _book(folder, "reservations", {"order": order}, context)


def release(reservation: str, folder: str, context: Context) -> str:
    """Put them back."""
    return _book(folder, "releases", {"reservation": reservation}, context)


def charge(order: str, amount: float, folder: str, context: Context) -> str:
    """Charge the customer; gives the number of the payment."""
    return _book(folder, "payments", {"order": order, "amount": amount}, context)


def refund(payment: str, reason: str, folder: str, context: Context) -> str:
    """Give the money back."""
    return _book(folder, "refunds", {"payment": payment, "reason": reason}, context)


def ship(order: str, address: str, folder: str, context: Context) -> str:
    """Hand the parcel over; gives its number."""
    if not address.strip():
        raise Fail(f"order {order} has no address", code="no_address", retryable=False)
    return _book(folder, "parcels", {"order": order, "address": address}, context)


def _book(folder: str, book: str, entry: dict[str, Any], context: Context) -> str:
    """Write an entry under a key of this step, once; gives the key."""
    key = context.idempotency_key.replace("/", "-")
    path = Path(folder) / book / f"{key}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(entry), encoding="utf-8")
    context.logger.info("%s: %s", book, entry)
    return key
