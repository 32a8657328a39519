// The console's beginning: puts the shell into the page.

import { html, render } from "./html.js";
import { Shell } from "./shell/shell.js";

render(html`<${Shell} />`, document.getElementById("console"));
