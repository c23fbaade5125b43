"""A view that writes, to be tried with ATOMIC_REQUESTS."""

from django.http import HttpResponse
from django.urls import path

from .models import Product


def write(request, number):
    Product.objects.bulk_upsert([{"sku": f"{i}"} for i in range(number)], unique_fields=["sku"])
    if "fail" in request.GET:
        raise ZeroDivisionError
    return HttpResponse(str(Product.objects.count()))


urlpatterns = [path("write/<int:number>", write)]
