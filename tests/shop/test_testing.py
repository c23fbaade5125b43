"""What the docs say of tests is so."""

from concurrent.futures import ThreadPoolExecutor

from django.db import connection
from django.test import TestCase, TransactionTestCase

from .models import Product


def product(number, **values):
    given = {"sku": f"P-{number}", "name": "Panel", "price": 80}
    return Product(**given | values)


def store(rows, **options):
    return Product.objects.bulk_upsert(rows, unique_fields=["sku"], **options)


class StoreTests(TestCase):
    def test_counts(self):
        store([product(1), product(2)])
        result = store([product(1), product(2, price=90), product(3)])
        self.assertEqual(result.created, 1)
        self.assertEqual(result.updated, 1)
        self.assertEqual(result.unchanged, 1)

    def test_one_statement(self):
        products = [product(number) for number in range(100)]
        with self.assertNumQueries(3):  # a savepoint, the call, its release
            store(products)

    def test_the_way_of_millions(self):
        result = store([product(1), product(2)], strategy="copy")
        self.assertEqual(result.created, 2)


class MeetingTests(TransactionTestCase):
    def test_two_calls_at_once(self):
        def call(price):
            try:
                products = [product(n, price=price) for n in range(100)]
                return store(products)
            finally:
                connection.close()

        with ThreadPoolExecutor() as pool:
            first, second = pool.map(call, [80, 90])
        self.assertEqual(first.created + second.created, 100)
        self.assertEqual(Product.objects.count(), 100)
