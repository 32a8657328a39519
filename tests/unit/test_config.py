"""Settings read from the environment, and the errors for invalid ones."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from sidecar.config import Settings, load_settings, set_openmp_defaults, variable_names
from sidecar.errors import ConfigurationError


def problems_with(**environ: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(environ)
    return caught.value.problems


def test_defaults_are_those_of_the_prototype() -> None:
    settings = load_settings({})
    assert settings == Settings()
    assert settings.vision_model_id == "hf-hub:timm/ViT-SO400M-14-SigLIP-384"
    assert (settings.vision_size, settings.tta_crop_size, settings.model_precision) == (None, None, None)
    assert settings.enable_multi_scale
    assert settings.multi_scale_factors == (1.0, 1.35)
    assert settings.multi_scale_max_dim == 1536
    assert settings.matmul_precision == "high"
    assert settings.cuda_device is None
    assert settings.enable_tta
    assert settings.panorama_max_ratio == 2.6
    assert settings.require_cuda
    assert settings.log_level == "INFO"
    assert settings.log_format == "%(asctime)s | %(levelname)s | %(name)s | %(message)s"
    assert settings.bind_port == 9000


def test_every_variable_is_read() -> None:
    settings = load_settings(
        {
            "VISION_MODEL_ID": "local-dir:/models/a b",
            "VISION_SIZE": "256",
            "MODEL_PRECISION": "FP16",
            "MULTI_SCALE_FACTORS": " 1, 1.5 ,2",
            "CUDA_DEVICE": "cuda:1",
            "LOG_LEVEL": "debug",
            "HF_TOKEN": "hf_abc\n",
            "DATABASE_URL": " postgresql://ann:s3cret@db/shop ",
            "LEASE_S": "30.5",
        }
    )
    assert settings.vision_model_id == "local-dir:/models/a b"
    assert settings.vision_size == 256
    assert settings.model_precision == "fp16"
    assert settings.multi_scale_factors == (1.0, 1.5, 2.0)
    assert settings.cuda_device == "cuda:1"
    assert settings.log_level == "DEBUG"
    assert settings.hf_token == SecretStr("hf_abc")
    assert settings.database_url == SecretStr("postgresql://ann:s3cret@db/shop")
    assert settings.lease_s == 30.5


@pytest.mark.parametrize("field_name", list(Settings.model_fields))
def test_a_variable_is_named_after_its_field(field_name: str) -> None:
    assert variable_names(field_name)[0] == field_name.upper()


@pytest.mark.parametrize("value", ["", " ", "\n"])
def test_a_blank_variable_is_unset(value: str) -> None:
    assert load_settings({"BIND_PORT": value, "DATABASE_URL": value, "HF_TOKEN": value}) == Settings()


def test_unknown_variables_are_ignored_because_the_environment_is_shared() -> None:
    assert load_settings({"PATH": "/bin", "BIND_PROT": "1"}) == Settings()


@pytest.mark.parametrize(
    ("text", "value"),
    [(text, True) for text in ("1", "true", "YES", "on")] + [(text, False) for text in ("0", "False", "no", "OFF")],
)
def test_switches_take_the_usual_words(text: str, value: bool) -> None:
    assert load_settings({"ENABLE_TTA": text}).enable_tta is value


def test_port_is_an_alias_of_bind_port() -> None:
    assert load_settings({"PORT": "8000"}).bind_port == 8000


def test_bind_port_wins_over_port() -> None:
    assert load_settings({"PORT": "8000", "BIND_PORT": "8001"}).bind_port == 8001


def test_a_bad_port_is_reported_under_the_name_that_was_set() -> None:
    assert problems_with(PORT="http") == ["PORT='http': a whole number from 1 up to 65535"]
    assert problems_with(PORT="8000", BIND_PORT="0") == ["BIND_PORT='0': a whole number from 1 up to 65535"]


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("VISION_SIZE", "15", "a whole number from 16 up to 4096"),
        ("TTA_CROP_SIZE", "2.5", "a whole number from 16 up to 4096"),
        ("MODEL_PRECISION", "int8", "one of bf16, fp16, fp32"),
        ("ENABLE_TTA", "maybe", "1 or 0 (or true/false, yes/no, on/off)"),
        ("MULTI_SCALE_FACTORS", "1,,2", "1 to 8 numbers from 0.1 to 8, separated by commas"),
        ("MULTI_SCALE_FACTORS", "1,9", "1 to 8 numbers from 0.1 to 8, separated by commas"),
        ("MULTI_SCALE_FACTORS", "1,1,1,1,1,1,1,1,1", "1 to 8 numbers from 0.1 to 8, separated by commas"),
        ("MULTI_SCALE_FACTORS", "nan", "1 to 8 numbers from 0.1 to 8, separated by commas"),
        ("PANORAMA_MAX_RATIO", "1", "a number above 1 and up to 100"),
        ("PANORAMA_MAX_RATIO", "nan", "a number above 1 and up to 100"),
        ("CUDA_DEVICE", "0", "cuda:0, cuda:1 and so on, or several of them, separated by commas; all; cuda"),
        ("LOG_LEVEL", "loud", "one of DEBUG, INFO, WARNING, ERROR, CRITICAL"),
        ("LOG_FORMAT", "yaml", "json, or a format of Python's logging, such as %(levelname)s %(message)s"),
        ("LOG_FORMAT", "%(nobody)s", "json, or a format of Python's logging, such as %(levelname)s %(message)s"),
        ("LOG_FORMAT", "%(message)d", "json, or a format of Python's logging, such as %(levelname)s %(message)s"),
        ("POLL_INTERVAL_S", "0", "a number from 0.01 up to 60"),
        ("LEASE_S", "inf", "a number from 5 up to 3600"),
        ("BACKFILL_MIN_SHARE", "0", "a number above 0 and up to 0.9"),
    ],
)
def test_a_bad_value_is_reported_with_its_name_and_the_allowed_values(name: str, value: str, allowed: str) -> None:
    assert problems_with(**{name: value}) == [f"{name}='{value}': {allowed}"]


def test_all_problems_are_reported_at_once() -> None:
    problems = problems_with(
        LEASE_S="1", BIND_PORT="x", MULTI_SCALE_FACTORS="a,b", QUERY_QUEUE_VIEWS="4", TTA_CROP_SIZE="2048"
    )
    assert sorted(problem.partition("=")[0] for problem in problems) == [
        "BIND_PORT",
        "LEASE_S",
        "MULTI_SCALE_FACTORS",
        "QUERY_QUEUE_VIEWS",
        "TTA_CROP_SIZE",
    ]


def test_a_long_value_is_cut() -> None:
    (problem,) = problems_with(BIND_PORT="9" * 5000)
    assert len(problem) < 200


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        (
            {"TTA_CROP_SIZE": "2048"},
            "TTA_CROP_SIZE='2048': at most MULTI_SCALE_MAX_DIM, which is 1536",
        ),
        (
            {"VISION_SIZE": "512", "MULTI_SCALE_MAX_DIM": "400"},
            "VISION_SIZE='512': at most MULTI_SCALE_MAX_DIM, which is 400",
        ),
        (
            {"LEASE_S": "10", "DECODE_TIMEOUT_S": "10"},
            "LEASE_S='10': above DECODE_TIMEOUT_S, which is 10",
        ),
        (
            {"MULTI_SCALE_FACTORS": "1,2,3", "QUERY_QUEUE_VIEWS": "119"},
            "QUERY_QUEUE_VIEWS='119': at least 120, the views of one panorama at these settings",
        ),
        (
            {"TTA_ANCHOR_WEIGHT": "0.5", "ENABLE_MULTI_SCALE": "0", "INGEST_QUEUE_VIEWS": "40"},
            "INGEST_QUEUE_VIEWS='40': at least 41, the views of one panorama at these settings",
        ),
        (
            {"INGEST_MIN_SHARE": "0.75"},
            (
                "INGEST_MIN_SHARE='0.75': together with RERANK_MIN_SHARE, which is 0.2, at most 0.9; "
                "the rest is for queries"
            ),
        ),
    ],
)
def test_values_that_contradict_each_other_are_refused(environ: dict[str, str], problem: str) -> None:
    assert problems_with(**environ) == [problem]


def test_contradictions_with_a_bad_value_are_not_reported() -> None:
    assert len(problems_with(TTA_CROP_SIZE="2048", MULTI_SCALE_MAX_DIM="much")) == 1


def test_without_tta_a_queue_may_be_short_and_a_crop_large() -> None:
    assert load_settings({"INGEST_MIN_SHARE": "0.75", "RERANK": "off"}).ingest_min_share == 0.75
    assert load_settings({"ENABLE_TTA": "0", "QUERY_QUEUE_VIEWS": "1", "TTA_CROP_SIZE": "2048"}).query_queue_views == 1


@pytest.mark.parametrize(
    "url",
    [
        "postgresql:///shop",
        "postgres://ann:s3cret@[::1]:5432/shop?sslmode=require",
        "postgresql://ann:s3%23cret@one:5432,two:5433/shop",
        "postgresql://ann@/shop?host=/run/postgresql",
        "host=db user=ann password='my s3cret' dbname=shop",
    ],
)
def test_urls_that_postgres_clients_accept_are_accepted(url: str) -> None:
    assert load_settings({"DATABASE_URL": url}).database_url == SecretStr(url)


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "asyncpg", "psycopg_async"])
@pytest.mark.parametrize("name", ["DATABASE_URL", "LISTEN_DATABASE_URL"])
def test_a_url_as_sqlalchemy_writes_it_is_read_without_its_driver(name: str, driver: str, tmp_path: Path) -> None:
    url, read = f"postgresql+{driver}://ann:s3+cret@db/shop", SecretStr("postgresql://ann:s3+cret@db/shop")
    (tmp_path / "url").write_text(f"{url}\n")
    for environ in ({name: url}, {f"{name}_FILE": str(tmp_path / "url")}):
        assert getattr(load_settings(environ), name.lower()) == read


@pytest.mark.parametrize(
    "url",
    [
        "mysql://ann:s3cret@db/shop",
        "postgresql+aiopg://ann:s3cret@db/shop",
        "postgresql://ann:s3cret",
        "postgresql://ann:s3cret#1@db/shop",
        "postgresql://ann:my s3cret@db/shop",
        "postgresql://ann:x@[s3cret/shop",
        "postgresql://ann:x@s3cret@db/shop",
        "ann:s3cret@db/shop",
        "jdbc:postgresql://db/shop?password=s3cret",
        "s3cret",
    ],
)
@pytest.mark.parametrize("name", ["DATABASE_URL", "LISTEN_DATABASE_URL"])
def test_a_bad_database_url_is_refused_without_showing_its_password(name: str, url: str) -> None:
    (problem,) = problems_with(**{name: url})
    assert problem.startswith(f"{name}='")
    assert "postgresql://user:password@host:5432/database" in problem
    assert "s3cret" not in problem


def test_a_bad_token_is_refused_without_showing_it() -> None:
    assert problems_with(HF_TOKEN="hf_abc def") == ["HF_TOKEN='***': a token such as hf_…, without spaces"]


@pytest.mark.parametrize(
    "headers", ["Bearer s3cret", "api-key=s3cret,s3cret", "=s3cret", "api-key=s3cret;x", 'k="s3cret"']
)
def test_invalid_headers_for_the_collector_are_rejected_and_not_shown(headers: str) -> None:
    expected = ["OTEL_EXPORTER_OTLP_HEADERS='***': name=value pairs, separated by commas"]
    assert problems_with(OTEL_EXPORTER_OTLP_HEADERS=headers) == expected


@pytest.mark.parametrize("headers", ["api-key=abc", "Authorization=Bearer a%20b", "a=Bearer x, b=y==", "a="])
def test_valid_headers_for_the_collector_are_accepted(headers: str) -> None:
    assert load_settings({"OTEL_EXPORTER_OTLP_HEADERS": headers}).otel_exporter_otlp_headers == SecretStr(headers)


def test_settings_never_print_their_secrets() -> None:
    settings = load_settings({"DATABASE_URL": "postgresql://ann:s3cret@db/shop", "HF_TOKEN": "hf_s3cret"})
    assert "s3cret" not in f"{settings!r} {settings} {settings.model_dump_json()}"


def test_a_password_is_not_in_the_traceback_either() -> None:
    program = "from sidecar.config import load_settings; load_settings()"
    environ = {**os.environ, "DATABASE_URL": "mysql://ann:s3cret@db/shop", "HF_TOKEN": "s3cret s3cret"}
    ended = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "ConfigurationError" in ended.stderr
    assert "s3cret" not in ended.stdout + ended.stderr


def test_constructing_settings_reads_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIND_PORT", "8123")
    assert Settings().bind_port == 9000
    assert load_settings().bind_port == 8123


def test_waiting_threads_sleep_unless_the_user_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    set_openmp_defaults()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
    monkeypatch.delenv("OMP_WAIT_POLICY")
    set_openmp_defaults()
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"


def test_image_hosts_are_names_with_an_optional_wildcard_or_port() -> None:
    settings = load_settings({"ALLOW_IMAGE_URLS": " Pictures.example, *.cdn.example ,cdn2.example:8443, 3com.example"})
    assert settings.allow_image_urls == ("pictures.example", "*.cdn.example", "cdn2.example:8443", "3com.example")


@pytest.mark.parametrize(
    "hosts",
    [
        "*",
        "*.example",
        "a.*.example",
        "https://a.example",
        "a.example/x",
        "127.0.0.1",
        "[::1]",
        "a.example:0",
        "a:99999",
    ],
)
def test_invalid_image_hosts_are_rejected(hosts: str) -> None:
    (problem,) = problems_with(ALLOW_IMAGE_URLS=hosts)
    assert problem.startswith(f"ALLOW_IMAGE_URLS={hosts!r}: hosts such as images.example.com, *.example.com")


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("postgresql+aiopg://ann:s3cret@db/shop", "without +aiopg"),
        ("jdbc:postgresql://db/shop?user=ann&password=s3cret", "without jdbc:"),
        ("postgis://ann:s3cret@db/shop", "write postgresql://"),
        ("postgresql://ann:s3cret#1@db/shop", "%23"),
    ],
)
def test_a_url_of_another_tool_is_rejected_with_a_hint(url: str, hint: str) -> None:
    (problem,) = problems_with(DATABASE_URL=url)
    assert hint in problem
    assert "s3cret" not in problem


@pytest.mark.parametrize("name", ["DATABASE_URL", "LISTEN_DATABASE_URL"])
def test_a_url_may_come_from_a_file(name: str, tmp_path: Path) -> None:
    """A Docker secret ends with a newline."""
    secret = tmp_path / "secret"
    secret.write_text("postgresql://ann:s3cret@db/shop\n")
    settings = load_settings({f"{name}_FILE": str(secret)})
    assert getattr(settings, name.lower()) == SecretStr("postgresql://ann:s3cret@db/shop")


def test_problems_with_a_url_file_are_reported_without_the_url(tmp_path: Path) -> None:
    secret, empty, bad = (tmp_path / name for name in ("secret", "empty", "bad"))
    secret.write_text("postgresql://ann:s3cret@db/shop")
    empty.write_text("\n")
    bad.write_text("mysql://ann:s3cret@db/shop")
    assert "No such file" in problems_with(DATABASE_URL_FILE=str(tmp_path / "none"))[0]
    assert "is empty" in problems_with(DATABASE_URL_FILE=str(empty))[0]
    assert "not together" in problems_with(DATABASE_URL_FILE=str(secret), DATABASE_URL="postgresql://db/shop")[0]
    (problem,) = problems_with(DATABASE_URL_FILE=str(bad))
    assert "s3cret" not in problem
    assert problem.startswith("DATABASE_URL='mysql://***'")


def test_aliases_stand_for_both_models_or_for_the_one_they_name() -> None:
    vision, reranking = "timm/ViT-SO400M-14-SigLIP-384", "cross-encoder/ms-marco-MiniLM-L6-v2"
    settings = load_settings({"MODEL_ALIASES": f"any, one=hf-hub:{vision},two={vision},other={reranking}"})
    assert settings.aliases_of(settings.vision_model_id) == ("any", "one", "two")
    assert settings.aliases_of(settings.rerank_model_id) == ("any", "other")
    assert load_settings({}).aliases_of("timm/ViT-SO400M-14-SigLIP-384") == ()


@pytest.mark.parametrize("value", ["a b", "=model", "a=", "a,a", "a" * 201])
def test_invalid_aliases_are_rejected(value: str) -> None:
    (problem,) = problems_with(MODEL_ALIASES=value)
    assert problem.startswith(f"MODEL_ALIASES={value[:100]!r}"[:90])


def test_an_alias_of_a_model_that_is_not_served_is_rejected() -> None:
    (problem,) = problems_with(MODEL_ALIASES="a=text-embedding-3-small")
    assert problem.startswith("MODEL_ALIASES='a=text-embedding-3-small': VISION_MODEL_ID or RERANK_MODEL_ID after =")
