"""The settings: every variable with its bounds, its default and its line in `docs/settings.md`."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AliasChoices, Field, SecretStr, field_validator, model_validator
from pydantic.config import JsonDict
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from sidecar.api_keys.key import is_valid_key
from sidecar.api_keys.lines import parse_variable
from sidecar.cpus import count_cpus, count_gpus
from sidecar.database_url import check_database_url, without_driver
from sidecar.errors import ConfigurationError

MIB = 1024 * 1024
_MAX_SHARES = 0.9
_MAX_DECODE_PROCESSES = 128
_MAX_TILES = 8  # of a panorama; five crops are cut from each, at each factor
_HEADER = re.compile(r"""[A-Za-z0-9!#$%&'*+.^_`|~-]+ *= *[^\x00-\x1f\x7f-\uffff",;\\]*""")
_KEYS = "keys of 16 to 512 characters, each with its scopes before it if not all are meant: embed+search:KEY"
# A host name, perhaps with a port: no IPv4 address, and with `*.` at least two labels.
_IMAGE_HOST = re.compile(
    r"(\*\.(?=[^.]+\.))?([a-z0-9_-]+\.)*[0-9]*[a-z_-][a-z0-9_-]*(:[1-9][0-9]{0,4})?", re.IGNORECASE
)
_ALIAS = re.compile(r"[^\s=,]{1,200}(=[^\s,]+)?")
_ORIGIN = re.compile(r"https?://([a-z0-9.-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?", re.IGNORECASE)
# What each record is given by sidecar.telemetry.logs.formatters.
_LOG_IDS = {"request_id": "", "trace_id": "", "span_id": ""}
_DATABASE_URL: JsonDict = {
    "allowed": "a URL such as postgresql://user:password@host:5432/database, special characters as %XX; or "
    "libpq's name=value pairs"
}
_URL_FILE: JsonDict = {"allowed": "the path of a file that holds nothing else"}


def _without_hub_prefix(model_id: str) -> str:
    return model_id.strip().removeprefix("hf-hub:")


def choose_decode_processes(cpus: int, *, has_gpu: bool, gpus: int = 1) -> int:
    """As many as there are CPUs, of which one is left to the event loop beside a GPU, and as the devices can use.

    A GPU that encodes 640 views a second needs 80 pictures of eight views, or 640 of one: eight CPUs for pictures of 12
    megapixels with eight views. Two at least, so that a query's picture need not wait for one of a backfill.

    On a CPU they compete with the model. Two of them on two cores with the demo's model, instead of one: 1.5 times the
    pictures of 12 megapixels, 0.8 times those of 1.2; a third gained nothing.
    """
    return min(max(cpus - 1, 2), 16 * gpus, _MAX_DECODE_PROCESSES) if has_gpu else min(max(cpus, 2), 9)


def _count_decode_processes(values: Mapping[str, Any]) -> int:
    # An invalid REQUIRE_CUDA is missing.
    named = (values.get("cuda_device") or "cuda").split(",")
    gpus = count_gpus() if named == ["all"] else len(named)
    return choose_decode_processes(count_cpus(), has_gpu=values.get("require_cuda", True), gpus=max(gpus, 1))


class Settings(BaseSettings):
    """One field per variable: `lease_s` is LEASE_S. Docstrings of fields are the rows of `docs/settings.md`.

    `Settings(…)` itself reads no environment; `load_settings` does. Raises ConfigurationError if values that are valid
    one by one contradict each other.
    """

    model_config = SettingsConfigDict(
        alias_generator=str.upper,
        validate_by_name=True,
        case_sensitive=True,
        env_ignore_empty=True,
        frozen=True,
        extra="forbid",
        str_strip_whitespace=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )

    vision_model_id: str = Field(default="hf-hub:timm/ViT-SO400M-14-SigLIP-384", min_length=1)
    """The open_clip model: `hf-hub:org/name`, `local-dir:/path`, a name of open_clip's, or `demo` (knows emoji)."""
    vision_size: int | None = Field(default=None, ge=16, le=4096)
    """Side in pixels of the square the model reads. Unset: the model's own size."""
    tta_crop_size: int | None = Field(default=None, ge=16, le=4096)
    """Side in pixels of a crop before it is resized to `VISION_SIZE`: its detail, at no cost on the device."""
    model_precision: Literal["bf16", "fp16", "fp32"] | None = None
    """Number format on the device. Unset: `bf16` where a GPU, or for large models a CPU, is fast in it; else `fp32`."""
    encoder_backend: Literal["torch", "onnx", "openvino", "tensorrt"] = "torch"
    """What computes the vectors. All but `torch` run the model in `EXPORT_DIR`; `onnx` on a GPU if there is one."""
    export_dir: Path | None = Field(
        default=None, json_schema_extra={"allowed": "a directory that sidecar export has written"}
    )
    """The exported model, for an `ENCODER_BACKEND` other than `torch`."""
    enable_multi_scale: bool = True
    """Cut crops at every factor of `MULTI_SCALE_FACTORS`."""
    multi_scale_factors: Annotated[tuple[float, ...], NoDecode] = Field(
        default=(1.0, 1.35), json_schema_extra={"allowed": "1 to 8 numbers from 0.1 to 8, separated by commas"}
    )
    """Scales at which crops are cut, in multiples of the crop size."""
    multi_scale_max_dim: int = Field(default=1536, ge=16, le=16384)
    """Longest side in pixels of a scaled picture."""
    matmul_precision: Literal["highest", "high", "medium"] = "high"
    """Precision of float32 products on the GPU; `medium` is a little faster and less exact."""
    cuda_device: str | None = Field(
        default=None,
        pattern=r"^(all|cuda|cuda:\d+(\s*,\s*cuda:\d+)*)$",
        json_schema_extra={"allowed": "cuda:0, cuda:1 and so on, or several of them, separated by commas; all; cuda"},
    )
    """The GPUs to use, each with a copy of the model: `cuda:0,cuda:2`, or `all` of this machine. Unset: the first."""
    device_graphs: Literal["auto", "off"] = "auto"
    """CUDA graphs for texts and for up to 8 crops: less time to start kernels. `off` saves the GPU's memory."""
    device_attention: Literal["auto", "off"] = "auto"
    """Time the implementations of attention on the GPU at start, and use the fastest. `off`: PyTorch's choice."""
    device_compile: Literal["off", "on"] = "off"
    """Compile the model with torch.compile at start, for a minute or more; needs a C++ compiler."""
    enable_tta: bool = True
    """Average several crops of a picture, and tiles of a panorama. `0` is faster and less exact."""
    panorama_max_ratio: float = Field(default=2.6, gt=1, le=100)
    """Pictures longer than this many times their short side are split into tiles."""
    tta_anchor_weight: float = Field(default=0.0, ge=0, le=1)
    """Weight of the whole picture, as the model was trained to see it, beside the mean of the crops."""
    require_cuda: bool = True
    """Refuse to start without a CUDA GPU. `0` admits CPU and MPS."""
    hf_token: SecretStr | None = Field(
        default=None, json_schema_extra={"allowed": "a token such as hf_…, without spaces"}
    )
    """Token for models that Hugging Face gives to members only."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    """The least important messages to log. At INFO, libraries log warnings and errors only."""
    log_format: str = Field(
        default="%(asctime)s | %(levelname)s | %(name)s | %(message)s",
        json_schema_extra={"allowed": "json, or a format of Python's logging, such as %(levelname)s %(message)s"},
    )
    """Layout of a log line, which may name `request_id` and `trace_id`; `json` for one JSON object a line."""

    database_url: SecretStr | None = Field(default=None, json_schema_extra=_DATABASE_URL)
    """The database to watch. Unset: REST only."""
    database_url_file: Path | None = Field(default=None, json_schema_extra=_URL_FILE)
    """A file with `DATABASE_URL`'s value, such as a Docker secret; read at start."""
    listen_database_url: SecretStr | None = Field(default=None, json_schema_extra=_DATABASE_URL)
    """A direct connection for LISTEN and index builds, where `DATABASE_URL` is a pooler in transaction mode."""
    listen_database_url_file: Path | None = Field(default=None, json_schema_extra=_URL_FILE)
    """A file with `LISTEN_DATABASE_URL`'s value."""
    search_database_url: SecretStr | None = Field(default=None, json_schema_extra=_DATABASE_URL)
    """A standby for `/search` and `/status`, while it keeps up. Unset: they read `DATABASE_URL`."""
    search_database_url_file: Path | None = Field(default=None, json_schema_extra=_URL_FILE)
    """A file with `SEARCH_DATABASE_URL`'s value."""
    search_max_lag_s: float = Field(default=30.0, ge=1, le=1800)
    """Greatest lag of the standby at which it is read; above it, `DATABASE_URL` is."""
    database_pool_size: int = Field(default=8, ge=4, le=200)
    """Connections for rows, at most, and as many for searches and status; three more listen, watch and answer SQL."""
    bind_host: str = Field(
        default="127.0.0.1",
        pattern=r"[^\s,]",
        json_schema_extra={"allowed": "addresses or names, separated by commas, such as 127.0.0.1,::1"},
    )
    """Addresses to serve on; `::` for all of IPv6 and IPv4, `0.0.0.0` for all of IPv4."""
    bind_port: int = Field(default=9000, ge=1, le=65535, validation_alias=AliasChoices("BIND_PORT", "PORT"))
    """Port to serve on. `PORT` is read where `BIND_PORT` is unset."""
    root_path: str = Field(
        default="",
        pattern=r"^((/[A-Za-z0-9._~-]+)*/?)$",
        json_schema_extra={"allowed": "a path such as /sidecar"},
    )
    """Path prefix that a proxy in front adds, whether it passes the prefix on or strips it."""
    keep_alive_s: float = Field(default=75.0, ge=0.1, le=86_400)
    """Time a connection may be idle before it is closed. Set it above that of a load balancer in front, often 60 s."""
    shutdown_timeout_s: float = Field(default=10.0, ge=0.1, le=600)
    """Time to finish running work when stopped."""

    ingest: bool = True
    """Embed the rows of watched tables. `0`: REST only."""
    sql_queries: bool = True
    """Answer `sidecar.embed`, in SQL, on a connection of its own. `0`: REST only."""
    sql_query_cache_bytes: int = Field(default=64 * MIB, ge=0, le=65_536 * MIB)
    """Vectors of `sidecar.embed` that the database keeps, in bytes; the least recently used are deleted."""
    poll_interval_s: float = Field(default=1.0, ge=0.01, le=60)
    """Longest wait before looking for new rows."""
    lease_s: float = Field(default=60.0, ge=5, le=3600)
    """Time after which rows are taken over from a sidecar that is stopped or cut off; from a dead one, at once."""
    ingest_batch_rows: int = Field(default=256, ge=1, le=10_000)
    """Rows claimed at once, at most."""
    ingest_batch_bytes: int = Field(default=64 * MIB, ge=MIB, le=4096 * MIB)
    """Bytes of contents that the server looks at for one read, at most; of a text no more than these are read."""
    ingest_min_share: float = Field(default=0.1, ge=0, le=0.9)
    """Share of the device's time that rows get, however many queries there are."""
    backfill_min_share: float = Field(default=0.1, gt=0, le=0.9)
    """Share of the rows' time that the backfill gets, however many live changes there are."""
    sweep_interval_s: float = Field(default=3600.0, ge=1, le=604_800)
    """Time between two sweeps, which look for rows that no trigger saw. After long ones it is more, up to a day."""
    recall_interval_s: float = Field(default=0, ge=0, le=31 * 86_400)
    """Time between two measurements of an index, each by up to 50 reads of its table; 0: none. See `sidecar recall`."""
    verify_bytes_per_s: int = Field(default=32 * MIB, ge=64 * 1024, le=16_384 * MIB)
    """Bytes of content and vectors that `sidecar verify` reads in a second, by all sidecars together."""

    max_image_bytes: int = Field(default=32 * MIB, ge=1024, le=1024 * MIB)
    """Largest encoded picture."""
    max_image_pixels: int = Field(default=100_000_000, ge=1, le=2_000_000_000)
    """Largest decoded picture."""
    preprocess: Literal["fast", "exact"] = "fast"
    """`fast` reduces large pictures while decoding them. `exact`: the pixels of open_clip's own transform."""
    decode_timeout_s: float = Field(default=10.0, ge=0.1, le=300)
    """Longest time to decode one picture."""
    decode_processes: int = Field(default_factory=_count_decode_processes, ge=1, le=_MAX_DECODE_PROCESSES)
    """Processes that decode pictures. Unset: with `REQUIRE_CUDA` one less than CPUs, up to 16 a GPU; else up to 9."""
    decode_memory_bytes: int = Field(default=2048 * MIB, ge=256 * MIB, le=65_536 * MIB)
    """Address space of a decoding process."""

    max_body_bytes: int = Field(default=64 * MIB, ge=1024, le=4096 * MIB)
    """Largest body of a request."""
    max_batch_texts: int = Field(default=2048, ge=1, le=100_000)
    """Texts in one request, at most."""
    max_text_chars: int = Field(default=100_000, ge=1, le=10_000_000)
    """Longest text of a request, in characters."""
    request_timeout_s: float = Field(default=60.0, ge=0.1, le=3600)
    """Longest time to answer a request."""
    batch_max_views: int = Field(default=32, ge=1, le=4096)
    """Texts or picture crops encoded together, at most."""
    batch_window_ms: float = Field(default=10.0, ge=0, le=1000)
    """Longest wait for a batch to fill."""
    device_timeout_s: float | None = Field(default=None, ge=0.1, le=86_400)
    """Longest time of a micro-batch. Unset: 60 (on a CPU 600) for `BATCH_MAX_VIEWS` up to 32, else in proportion."""
    device_max_failures: int = Field(default=3, ge=1, le=1000)
    """Micro-batches that fail in a row, and a known input with them, before `/readyz` answers 503."""
    device_recovery_s: float = Field(default=10.0, ge=0, le=3600)
    """Time that a failing or hanging device has to recover before the process ends with exit code 1."""
    query_queue_views: int = Field(default=1024, ge=1, le=1_000_000)
    """Views of requests that may wait: at least those of one panorama, 80 with the default settings."""
    ingest_queue_views: int = Field(default=1024, ge=1, le=1_000_000)
    """Views that may wait in each lane of rows: at least those of one panorama, 80 with the default settings."""
    max_batch_images: int = Field(default=32, ge=1, le=4096)
    """Pictures in one request, at most."""
    max_uploads_bytes: int = Field(default=512 * MIB, ge=MIB, le=1024 * 1024 * MIB)
    """Total size of the request bodies that are in memory at a time."""
    query_cache_bytes: int = Field(default=32 * MIB, ge=0, le=65_536 * MIB)
    """Memory for the vectors of recent query texts. `0`: none are kept."""

    rerank: Literal["off", "first_use", "start"] = "first_use"
    """When the reranking model is loaded. `off`: never, the rerank endpoints answer 404."""
    rerank_model_id: str = Field(default="cross-encoder/ms-marco-MiniLM-L6-v2", min_length=1)
    """The cross-encoder: a name on Hugging Face, or `local-dir:/path`."""
    rerank_max_tokens: int = Field(default=512, ge=16, le=32_768)
    """Tokens of query and document that the cross-encoder reads; the rest does not affect the score."""
    rerank_queue_pairs: int = Field(default=1024, ge=1, le=1_000_000)
    """Pairs of query and document that may wait for the cross-encoder."""
    rerank_min_share: float = Field(default=0.2, ge=0, le=0.9)
    """Share of the device's time that reranking gets, however many queries there are."""
    max_rerank_documents: int = Field(default=1000, ge=1, le=100_000)
    """Documents in one rerank request, at most."""
    model_aliases: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        json_schema_extra={
            "allowed": "names, separated by commas, each for what is served; or name=model, with VISION_MODEL_ID or "
            "RERANK_MODEL_ID as the model: text-embedding-3-small,rerank-v3.5=cross-encoder/ms-marco-MiniLM-L6-v2"
        },
    )
    """Other names that requests may use for the models, for clients with fixed names. Unset: only their own."""
    max_search_rows: int = Field(default=1000, ge=1, le=100_000)
    """Rows that one search may ask for."""

    api_keys: SecretStr | None = Field(default=None, json_schema_extra={"allowed": _KEYS})
    """Keys that clients may use, separated by commas; with several, one can be replaced by another."""
    api_keys_file: Path | None = Field(
        default=None, json_schema_extra={"allowed": "the path of a file: a key a line, or [[keys]] in TOML"}
    )
    """More keys, in TOML also with tables, filters, rate and quota; read again when the file changes."""
    allow_anonymous: bool = False
    """Serve other machines without any key. Without keys and without this, only loopback is served."""
    sidecar_url: str | None = Field(
        default=None, json_schema_extra={"allowed": "an address such as http://127.0.0.1:9000"}
    )
    """The service that `sidecar search` and `sidecar mcp` ask. Unset: port BIND_PORT of this machine."""
    sidecar_api_key: SecretStr | None = Field(
        default=None, json_schema_extra={"allowed": "a key of 16 or more characters, without its scopes"}
    )
    """The key that `sidecar search` and `sidecar mcp` send to the service."""
    console: bool | None = None
    """Serve the console, a page for people, at `/`. Unset: yes, unless `ALLOW_ANONYMOUS` serves it without keys."""
    cors_allow_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), json_schema_extra={"allowed": "origins such as https://app.example.com, separated by commas, or *"}
    )
    """Web pages that may call the service from a browser. Unset: none."""
    allow_image_urls: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        json_schema_extra={
            "allowed": "hosts such as images.example.com, *.example.com or cdn.example.com:8443, separated by commas"
        },
    )
    """Hosts that pictures may be fetched from, over HTTPS. Unset: requests carry their pictures."""
    image_url_timeout_s: float = Field(default=5.0, ge=0.1, le=60)
    """Longest time to fetch one picture."""

    otel_exporter_otlp_endpoint: str | None = Field(
        default=None, pattern=r"^https?://\S+$", json_schema_extra={"allowed": "a URL such as http://collector:4318"}
    )
    """Collector that traces are sent to, over OTLP/HTTP. Unset: no traces."""
    otel_exporter_otlp_headers: SecretStr | None = Field(
        default=None, json_schema_extra={"allowed": "name=value pairs, separated by commas"}
    )
    """Headers for the collector, such as its key."""
    otel_service_name: str = Field(default="sidecar", min_length=1)
    """Name of the service in traces."""
    otel_traces_sampler_arg: float = Field(default=1.0, ge=0, le=1)
    """Fraction of the traces started here that are kept; others follow their caller's decision."""
    slo_query_p95_ms: float = Field(default=250.0, gt=0, le=600_000)
    """Objective: 95 % of the queries are answered within this time."""
    slo_lag_p95_s: float = Field(default=10.0, gt=0, le=604_800)
    """Objective: 95 % of the changed rows have their vector within this time after their change."""
    slo_availability: float = Field(default=0.999, ge=0.5, lt=1)
    """Objective: the fraction of requests that are answered, neither refused because of overload nor failed."""

    @field_validator(
        *("model_precision", "matmul_precision", "encoder_backend", "cuda_device", "preprocess", "rerank"),
        *("device_graphs", "device_attention", "device_compile"),
        mode="before",
    )
    @classmethod
    def _lower(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value

    @field_validator("multi_scale_factors", mode="before")
    @classmethod
    def _split_at_commas(cls, value: Any) -> Any:
        return tuple(value.split(",")) if isinstance(value, str) else value

    @field_validator("multi_scale_factors")
    @classmethod
    def _check_factors(cls, factors: tuple[float, ...]) -> tuple[float, ...]:
        if not 1 <= len(factors) <= 8 or not all(0.1 <= factor <= 8 for factor in factors):
            raise ValueError("out of range")
        return factors

    @field_validator("cors_allow_origins", "allow_image_urls", "model_aliases", mode="before")
    @classmethod
    def _split_names(cls, value: Any) -> Any:
        return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value

    @field_validator("allow_image_urls")
    @classmethod
    def _check_image_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        if not all(_IMAGE_HOST.fullmatch(host) and int(host.partition(":")[2] or 443) < 65536 for host in hosts):
            raise ValueError("not a host")
        return tuple(host.lower() for host in hosts)

    @field_validator("model_aliases")
    @classmethod
    def _check_aliases(cls, aliases: tuple[str, ...]) -> tuple[str, ...]:
        if not all(_ALIAS.fullmatch(alias) for alias in aliases) or len(set(aliases)) < len(aliases):
            raise ValueError("not a name")
        return aliases

    @field_validator("log_format")
    @classmethod
    def _check_log_format(cls, log_format: str) -> str:
        if log_format.lower() == "json":
            return "json"
        record = logging.LogRecord("sidecar", logging.INFO, __file__, 1, "message", None, None)
        try:
            record.__dict__.update(_LOG_IDS)
            logging.Formatter(log_format).format(record)
        except (KeyError, TypeError) as error:
            raise ValueError("not a format of Python's logging") from error
        return log_format

    @field_validator("cors_allow_origins")
    @classmethod
    def _check_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        if origins != ("*",) and not all(_ORIGIN.fullmatch(origin) for origin in origins):
            raise ValueError("not an origin")
        return tuple(origin.lower() for origin in origins)

    @field_validator("sidecar_api_key")
    @classmethod
    def _check_own_key(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and not is_valid_key(key.get_secret_value()):
            raise ValueError("not a key")
        return key

    @field_validator("hf_token")
    @classmethod
    def _check_token(cls, token: SecretStr | None) -> SecretStr | None:
        if token is not None and len(token.get_secret_value().split()) != 1:
            raise ValueError("blank or with spaces")
        return token

    @field_validator("otel_exporter_otlp_headers")
    @classmethod
    def _check_headers(cls, headers: SecretStr | None) -> SecretStr | None:
        for header in headers.get_secret_value().split(",") if headers is not None else ():
            if not _HEADER.fullmatch(header.strip()):  # the exporter would skip it, and quote it in the log
                raise ValueError("not name=value")
        return headers

    @field_validator("database_url", "listen_database_url", "search_database_url")
    @classmethod
    def _check_database_url(cls, url: SecretStr | None) -> SecretStr | None:
        if url is None:
            return None
        address = without_driver(url.get_secret_value())
        check_database_url(address)
        return SecretStr(address)

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if problems := [
            *self._crop_problems(),
            *self._device_problems(),
            *self._export_problems(),
            *self._alias_problems(),
            *self._lease_problems(),
            *self._standby_problems(),
            *self._queue_problems(),
            *self._share_problems(),
            *self._access_problems(),
        ]:
            raise ConfigurationError(problems)
        return self

    @property
    def cuda_devices(self) -> tuple[str, ...]:
        """What CUDA_DEVICE names: GPUs such as `cuda:0`, or `all` alone. `cuda:0` if unset."""
        names = (self.cuda_device or "cuda:0").split(",")
        return tuple("cuda:0" if name.strip() == "cuda" else name.strip() for name in names)

    def _device_problems(self) -> Iterator[str]:
        names = self.cuda_devices
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield f"CUDA_DEVICE='{self.cuda_device}': {name} is named twice; a GPU holds one copy of the model"

    def _export_problems(self) -> Iterator[str]:
        if self.encoder_backend != "torch" and self.export_dir is None:
            yield f"ENCODER_BACKEND='{self.encoder_backend}': EXPORT_DIR has to name what sidecar export has written"

    def _crop_problems(self) -> Iterator[str]:
        crop, max_dim = self.tta_crop_size or self.vision_size or 0, self.multi_scale_max_dim
        if self.enable_tta and crop > max_dim:
            name = "TTA_CROP_SIZE" if self.tta_crop_size else "VISION_SIZE"
            yield f"{name}='{crop}': at most MULTI_SCALE_MAX_DIM, which is {max_dim}"

    def _alias_problems(self) -> Iterator[str]:
        models = {_without_hub_prefix(self.vision_model_id), _without_hub_prefix(self.rerank_model_id)}
        for alias, _, model in (alias.partition("=") for alias in self.model_aliases if "=" in alias):
            if _without_hub_prefix(model) not in models:
                yield (
                    f"MODEL_ALIASES='{alias}={model}': VISION_MODEL_ID or RERANK_MODEL_ID after =, which are "
                    f"{self.vision_model_id} and {self.rerank_model_id}"
                )

    def _lease_problems(self) -> Iterator[str]:
        if self.lease_s <= self.decode_timeout_s:
            yield f"LEASE_S='{self.lease_s:g}': above DECODE_TIMEOUT_S, which is {self.decode_timeout_s:g}"

    def _standby_problems(self) -> Iterator[str]:
        if self.search_database_url is not None and self.database_url is None:
            yield "SEARCH_DATABASE_URL: only together with DATABASE_URL, whose standby it names"

    def _queue_problems(self) -> Iterator[str]:
        views = self.max_picture_views
        for name, capacity in (("QUERY", self.query_queue_views), ("INGEST", self.ingest_queue_views)):
            if capacity < views:
                need = f"at least {views}, the views of one panorama at these settings"
                yield f"{name}_QUEUE_VIEWS='{capacity}': {need}"

    def _share_problems(self) -> Iterator[str]:
        if self.rerank != "off" and self.ingest_min_share + self.rerank_min_share > _MAX_SHARES:
            yield (
                f"INGEST_MIN_SHARE='{self.ingest_min_share:g}': together with RERANK_MIN_SHARE, which is "
                f"{self.rerank_min_share:g}, at most {_MAX_SHARES:g}; the rest is for queries"
            )

    def _access_problems(self) -> Iterator[str]:
        if self.max_uploads_bytes < self.max_body_bytes:
            least = f"at least MAX_BODY_BYTES, which is {self.max_body_bytes}"
            yield f"MAX_UPLOADS_BYTES='{self.max_uploads_bytes}': {least}"
        if self.allow_anonymous and (self.api_keys or self.api_keys_file):
            yield "ALLOW_ANONYMOUS='1': not together with API_KEYS or API_KEYS_FILE, which ask for a key"
        if self.api_keys:
            try:
                parse_variable(self.api_keys.get_secret_value())
            except ConfigurationError as error:
                yield from error.problems

    def aliases_of(self, model_id: str) -> tuple[str, ...]:
        """The aliases of a model: those that name it, and those that name no model."""
        meant = {"", _without_hub_prefix(model_id)}
        pairs = [alias.partition("=") for alias in self.model_aliases]
        return tuple(name for name, _, model in pairs if _without_hub_prefix(model) in meant)

    @property
    def serves_console(self) -> bool:
        """Whether the console is at `/`: by default where only this machine is served, or where there are keys."""
        return not self.allow_anonymous if self.console is None else self.console

    @property
    def max_picture_views(self) -> int:
        """The most views that can be cut from one picture, however long it is."""
        if not self.enable_tta:
            return 1
        factors = len(self.multi_scale_factors) if self.enable_multi_scale else 1
        return _MAX_TILES * factors * 5 + (self.tta_anchor_weight > 0)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)
