"""The steps of `etl_csv.yaml`: join orders with products, total them, write the result."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path

from stepwell import Context

Row = Mapping[str, str]


@dataclass(frozen=True)
class Sale:
    """An order that makes sense. `amount` is in euros, exact."""

    region: str
    category: str
    amount: Decimal


@dataclass(frozen=True)
class Rejected:
    """An order that does not, and why."""

    order: str
    reason: str


@dataclass(frozen=True)
class Joined:
    """All orders, each in one of the lists."""

    sales: list[Sale]
    rejected: list[Rejected]


@dataclass(frozen=True)
class Revenue:
    """What a category earned in a region."""

    region: str
    category: str
    orders: int
    amount: Decimal


def join(orders: list[dict[str, str]], products: list[dict[str, str]], context: Context) -> Joined:
    """Give each order its category and amount; those that cannot be right are rejected, with the reason."""
    by_sku = {product["sku"]: product for product in products}
    sales, rejected = [], []
    for order in orders:
        if reason := _wrong(order, by_sku):
            context.logger.warning("order %s: %s", order["order"], reason)
            rejected.append(Rejected(order["order"], reason))
        else:
            product = by_sku[order["sku"]]
            amount = int(order["quantity"]) * Decimal(product["price"])
            sales.append(Sale(order["region"], product["category"], amount))
    return Joined(sales, rejected)


def total(sales: list[Sale]) -> list[Revenue]:
    """The revenue of each region and category, in order of both."""
    groups: defaultdict[tuple[str, str], list[Decimal]] = defaultdict(list)
    for sale in sales:
        groups[sale.region, sale.category].append(sale.amount)
    return [Revenue(*group, len(amounts), sum(amounts, Decimal())) for group, amounts in sorted(groups.items())]


def write(rows: list[Revenue], target: str) -> str:
    """Write the rows as CSV, whole or not at all, and give the path."""
    path = Path(target).resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["region", "category", "orders", "amount"])
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
    part.replace(path)
    return str(path)


def _wrong(order: Row, by_sku: Mapping[str, Row]) -> str | None:
    if order["sku"] not in by_sku:
        return f"there is no product {order['sku']}"
    if not order["quantity"].isdecimal() or int(order["quantity"]) == 0:
        return f"the quantity {order['quantity']!r} is not a number above 0"
    return None
