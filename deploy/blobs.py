"""The volume of large inputs and outputs, where there is no object store for them."""

from deploy.namespace import PLATFORM
from deploy.pod import BLOB_CLAIM, Object, labels, metadata
from deploy.values import Storage, Values


def blobs(values: Values) -> list[Object]:
    """The PersistentVolumeClaim that gateways, recorders and workers share; none with a URL."""
    if values.blobs.url:
        return []
    return [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": metadata(BLOB_CLAIM, values, labels(PLATFORM)),
            "spec": claim(values.blobs.storage, values.blobs.access),
        }
    ]


def claim(storage: Storage, access: str = "ReadWriteOnce") -> Object:
    """The spec of a PersistentVolumeClaim."""
    named = {"storageClassName": storage.storage_class} if storage.storage_class else {}
    return {
        "accessModes": [access],
        **named,
        "resources": {"requests": {"storage": storage.size}},
    }
