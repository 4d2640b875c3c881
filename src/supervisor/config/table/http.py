"""Settings of TLS, of limits on requests, and of gunicorn's own HTTP parser."""

from __future__ import annotations

from supervisor.config import validators
from supervisor.config.schema import Kind, Setting
from supervisor.config.table.build import choice, integer, string, strings, switch, words

TLS = "SSL"
SECURITY = "Security"
MECHANICS = "Server Mechanics"
WORKERS = "Worker Processes"
HTTP2 = "HTTP/2"

_HTTP2 = "uvicorn's HTTP/2 takes the values that its parser has"
_UWSGI = "the uwsgi protocol is not spoken"
_PASTE = "PasteDeploy files are not read, and one that is named is refused"

_PROXY_SPELLINGS = {True: "auto", False: "off", "true": "auto", "1": "auto", "false": "off", "0": "off", "none": "off"}

SETTINGS = (
    string("keyfile", TLS, "The private key of the certificate, in PEM format.", None, "--keyfile", metavar="FILE"),
    string(
        "certfile",
        TLS,
        "The certificate with its chain, in PEM format. With it TLS is spoken on every address.",
        None,
        "--certfile",
        metavar="FILE",
    ),
    Setting(
        name="ssl_version",
        group=TLS,
        doc="The version of TLS.",
        kind=Kind.STRING,
        validate=validators.anything,
        default=2,
        flags=("--ssl-version",),
        metavar="VERSION",
        default_text="negotiated",
        no_effect="the best version is negotiated; the ssl_context hook sets the least one",
    ),
    integer(
        "cert_reqs",
        TLS,
        "Whether clients need a certificate: 0 no, 1 it is checked where there is one, 2 yes (ssl.VerifyMode).",
        0,
        "--cert-reqs",
        maximum=2,
    ),
    string(
        "ca_certs",
        TLS,
        "The authorities that sign the certificates of clients, in PEM format.",
        None,
        "--ca-certs",
        metavar="FILE",
    ),
    switch(
        "suppress_ragged_eofs",
        TLS,
        "Treat a TLS connection without a proper end as ended.",
        "--suppress-ragged-eofs",
        default=True,
        no_effect="the event loop speaks TLS and decides on the end of a connection",
    ),
    switch(
        "do_handshake_on_connect",
        TLS,
        "Shake hands when a connection is accepted.",
        "--do-handshake-on-connect",
        no_effect="the event loop shakes hands without blocking",
    ),
    string("ciphers", TLS, "The ciphers, in OpenSSL's format.", None, "--ciphers", metavar="CIPHERS"),
    integer(
        "limit_request_line",
        SECURITY,
        "The longest request line in bytes; 0 sets no bound.",
        4094,
        "--limit-request-line",
    ),
    integer(
        "limit_request_fields",
        SECURITY,
        "The most header fields of a request.",
        100,
        "--limit-request-fields",
    ),
    integer(
        "limit_request_field_size",
        SECURITY,
        "The longest header field in bytes; 0 sets no bound.",
        8190,
        "--limit-request-field_size",
    ),
    Setting(
        name="secure_scheme_headers",
        group=MECHANICS,
        doc="The headers, with their values, by which a trusted proxy says that a request came over HTTPS. "
        "What X-Forwarded-Proto says is understood in any case.",
        kind=Kind.DICT,
        validate=validators.dictionary,
        default={"X-FORWARDED-PROTOCOL": "ssl", "X-FORWARDED-PROTO": "https", "X-FORWARDED-SSL": "on"},
    ),
    words(
        "forwarder_headers",
        MECHANICS,
        "The header names with an underscore that a trusted proxy may put into the environ of a WSGI application.",
        ["SCRIPT_NAME", "PATH_INFO"],
        "--forwarder-headers",
    ),
    choice(
        "header_map",
        MECHANICS,
        "What becomes of header names with an underscore if the application is a WSGI one; ASGI applications get all "
        "names as they are.",
        "drop",
        "--header-map",
        choices=("drop", "refuse", "dangerous"),
        validate=validators.choice("drop", "refuse", "dangerous"),
    ),
    choice(
        "proxy_protocol",
        MECHANICS,
        "Whether connections begin with the PROXY protocol, and which version; the flag alone is auto.",
        "off",
        "--proxy-protocol",
        metavar="MODE",
        choices=("off", "v1", "v2", "auto"),
        flag_value="auto",
        validate=validators.choice("off", "v1", "v2", "auto", empty="off", spellings=_PROXY_SPELLINGS),
    ),
    words(
        "proxy_allow_ips",
        MECHANICS,
        "The proxies that may speak the PROXY protocol; those on Unix sockets may in any case.",
        ["127.0.0.1", "::1"],
        "--proxy-allow-from",
        validate=validators.networks,
    ),
    string("protocol", MECHANICS, "The protocol: http; uwsgi is refused.", "http", "--protocol"),
    words(
        "uwsgi_allow_ips",
        MECHANICS,
        "The proxies that may speak the uwsgi protocol.",
        ["127.0.0.1", "::1"],
        "--uwsgi-allow-from",
        validate=validators.networks,
        no_effect=_UWSGI,
    ),
    string(
        "tmp_upload_dir",
        MECHANICS,
        "The directory for the bodies of requests.",
        None,
        metavar="DIR",
        no_effect="an ASGI application receives the body as it comes",
    ),
    string(
        "paste",
        MECHANICS,
        "A PasteDeploy file that makes the application.",
        None,
        "--paste",
        "--paster",
        no_effect=_PASTE,
    ),
    strings(
        "raw_paste_global_conf",
        MECHANICS,
        "A global variable of the PasteDeploy file.",
        [],
        "--paste-global",
        metavar="CONF",
        no_effect=_PASTE,
    ),
    switch(
        "permit_obsolete_folding",
        MECHANICS,
        "Accept folded headers.",
        "--permit-obsolete-folding",
        no_effect="the parser has no such leniency, and folded lines are answered with 400",
    ),
    switch(
        "strip_header_spaces",
        MECHANICS,
        "Accept spaces before the colon of a header.",
        "--strip-header-spaces",
        no_effect="the parser has no such leniency, and such headers are answered with 400",
    ),
    switch(
        "permit_unconventional_http_method",
        MECHANICS,
        "Accept unusual request methods.",
        "--permit-unconventional-http-method",
        no_effect="the parser knows a list of methods, and others are answered with 400",
    ),
    switch(
        "permit_unconventional_http_version",
        MECHANICS,
        "Accept unusual versions of HTTP.",
        "--permit-unconventional-http-version",
        no_effect="HTTP/1.0 and HTTP/1.1 are spoken, and other versions are refused",
    ),
    switch(
        "casefold_http_method",
        MECHANICS,
        "Turn request methods into upper case.",
        "--casefold-http-method",
        no_effect="the parser knows a list of methods, in upper case, and others are answered with 400",
    ),
    choice(
        "http_parser",
        WORKERS,
        "The HTTP parser.",
        "auto",
        "--http-parser",
        choices=("auto", "fast", "python"),
        no_effect="the worker class decides: UvicornWorker takes httptools, UvicornH11Worker takes h11",
    ),
    words(
        "http_protocols",
        HTTP2,
        "The versions of HTTP by preference: h1, h2. The second is agreed upon in the TLS handshake, and needs zttp, "
        "with uvicorn from 0.54 on.",
        ["h1"],
        "--http-protocols",
        validate=validators.protocols,
    ),
    choice(
        "http2_cleartext",
        HTTP2,
        "How HTTP/2 begins without TLS.",
        "off",
        "--http2-cleartext",
        choices=("off", "prior-knowledge", "upgrade", "both"),
        validate=validators.choice(
            "off",
            "prior-knowledge",
            "upgrade",
            "both",
            empty="off",
            spellings={True: "prior-knowledge", False: "off"},
        ),
        no_effect="HTTP/2 is agreed upon in the TLS handshake; without TLS, HTTP/1.1 is served",
    ),
    integer(
        "http2_max_concurrent_streams",
        HTTP2,
        "The most streams of a connection.",
        100,
        "--http2-max-concurrent-streams",
        minimum=1,
        no_effect=_HTTP2,
    ),
    integer(
        "http2_initial_window_size",
        HTTP2,
        "The first flow control window in bytes.",
        65535,
        "--http2-initial-window-size",
        maximum=2**31 - 1,
        no_effect=_HTTP2,
    ),
    integer(
        "http2_max_frame_size",
        HTTP2,
        "The largest frame in bytes.",
        16384,
        "--http2-max-frame-size",
        minimum=16384,
        maximum=2**24 - 1,
        no_effect=_HTTP2,
    ),
    integer(
        "http2_max_header_list_size",
        HTTP2,
        "The largest header list in bytes.",
        65536,
        "--http2-max-header-list-size",
        no_effect=_HTTP2,
    ),
)
