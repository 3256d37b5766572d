// Starts the part of the playground that a page asks for: <div class="playground" data-part="bars"></div>.

import { bars } from "./bars.js";
import { ellipse } from "./ellipse.js";
import { game } from "./game.js";
import { humps } from "./humps.js";
import { overviewOf } from "./overview.js";
import { Stage } from "./stage.js";

const parts = { overview: overviewOf([bars, humps, ellipse, game]), bars, humps, ellipse, game };
for (const root of document.querySelectorAll(".playground[data-part]")) new Stage(root, parts[root.dataset.part]);
