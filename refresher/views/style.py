"""How the page looks, and the headers that permit this one style, forms to the app itself, and nothing else."""

import base64
import hashlib

STYLE = """
:root{color-scheme:light dark;--ground:#f5f6f8;--card:#fff;--ink:#1b1f24;--faint:#57606a;--line:#d8dee4;
--good:#1a7f37;--warn:#9a6700;--bad:#cf222e;--unknown:#8c959f}
@media(prefers-color-scheme:dark){:root{--ground:#0d1117;--card:#161b22;--ink:#e6edf3;--faint:#9198a1;--line:#30363d;
--good:#3fb950;--warn:#d29922;--bad:#f85149;--unknown:#6e7681}}
*{box-sizing:border-box}
body{margin:0;padding:1.25rem;background:var(--ground);color:var(--ink);font:1rem/1.5 system-ui,sans-serif}
main{max-width:60rem;margin:auto}
h1{font-size:1.35rem;margin:0}
header{margin-bottom:1.25rem}
header p{margin:.15rem 0 0;color:var(--faint)}
header a{display:inline-block;min-height:1.5rem}
article{background:var(--card);border:1px solid var(--line);border-left:.4rem solid var(--unknown);
border-radius:.5rem;padding:1rem 1.1rem;margin-bottom:1rem;overflow-wrap:anywhere}
article.good{border-left-color:var(--good)}
article.warn{border-left-color:var(--warn)}
article.bad{border-left-color:var(--bad)}
h2{font-size:1.1rem;margin:0;display:flex;gap:.6rem;flex-wrap:wrap;align-items:baseline}
.state{font-size:.85rem;font-weight:600}
.good .state{color:var(--good)}
.warn .state{color:var(--warn)}
.bad .state{color:var(--bad)}
.next{border:1px solid var(--line);border-radius:.4rem;padding:.6rem .8rem;margin:.75rem 0;overflow-wrap:anywhere}
.next b{display:block;font-size:.8rem;color:var(--faint)}
code{font:.9em/1.5 ui-monospace,monospace;background:var(--ground);padding:.1em .3em;border-radius:.25rem;
display:inline-block;max-width:100%;overflow-x:auto;white-space:nowrap;vertical-align:bottom}
wbr{white-space:normal}
.next code{display:block;margin:.3rem 0;padding:.35rem .5rem}
svg{display:block;width:100%;height:1.6rem;margin:.75rem 0 0;border-radius:.25rem;background:var(--line)}
.held{fill:var(--good)}
.ahead{fill:var(--good);opacity:.35}
.gap{fill:var(--bad)}
.now{fill:var(--ink)}
.scale{display:flex;justify-content:space-between;font-size:.75rem;color:var(--faint);margin:0}
.told{margin:.1rem 0 .75rem}
dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(13rem,1fr));gap:.6rem 1.25rem;margin:.75rem 0 0}
dt{font-size:.8rem;color:var(--faint)}
dd{margin:0;overflow-wrap:anywhere}
details{background:var(--card);border:1px solid var(--line);border-left:.4rem solid var(--good);border-radius:.5rem;
padding:.45rem 1.1rem;margin-bottom:.4rem}
summary{cursor:pointer;overflow-wrap:anywhere}
summary span{color:var(--faint);font-size:.85rem;margin-left:.5rem}
form{margin:.3rem 0 .5rem}
button{font:inherit;font-weight:600;padding:.5rem 1rem;border:0;border-radius:.4rem;background:var(--ink);
color:var(--card)}
ul{margin:.75rem 0 0;padding-left:1.2rem;overflow-wrap:anywhere}
@media(max-width:30rem){body{padding:.75rem}article{padding:.75rem .8rem}.next{padding:.5rem .6rem}}
"""
_DIGEST = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
