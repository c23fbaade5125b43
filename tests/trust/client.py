"""A process that writes, call by call, until it is killed.

``python -m tests.trust.client STRATEGY URL``: an upsert writes the rows of one edition, half of
which are there already, and an update their names; then the edition is printed. With "ask" for a
strategy, how many rows each edition has, by their names, is printed instead.
"""

from __future__ import annotations

import json
import os
import sys

ROWS = 3_000


def main() -> None:
    """Write one edition after the other."""
    strategy, url = sys.argv[1:]
    os.environ["DATABASE_URL"] = url
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    import django

    django.setup()

    from django.db.models import Count, Max

    from tests.models import Product

    if strategy == "ask":
        editions = Product.objects.values_list("stock", "name").annotate(Count("pk"))
        sys.stdout.write(json.dumps(list(editions)))
        return
    edition = (Product.objects.aggregate(most=Max("stock"))["most"] or 0) + 1
    while True:
        rows = (
            {"sku": f"{number:07}", "stock": edition, "name": "x" * 20}
            for number in range(edition * ROWS // 2, edition * ROWS // 2 + ROWS)
        )
        Product.objects.bulk_upsert(rows, unique_fields=["sku"], strategy=strategy)
        objs = (
            Product(sku=f"{number:07}", name=f"{edition}")
            for number in range(edition * ROWS // 2, edition * ROWS // 2 + ROWS)
        )
        Product.objects.bulk_update(objs, ["name"], match_fields=["sku"], strategy=strategy)
        sys.stdout.write(f"{edition}\n")
        sys.stdout.flush()
        edition += 1


if __name__ == "__main__":
    main()
