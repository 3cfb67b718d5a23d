// The linter of the status page: make lint-page installs it below build/npm.

import { createRequire } from "node:module";
import { cwd } from "node:process";

const require = createRequire(`${cwd()}/build/npm/`);
const js = require("@eslint/js");
const html = require("@html-eslint/eslint-plugin");

const BROWSER = [
  "AbortController", "Event", "Node", "TextDecoder", "TextEncoder", "URL", "btoa", "clearTimeout",
  "document", "fetch", "history", "location", "sessionStorage", "setInterval", "setTimeout", "window",
];

export default [
  {
    files: ["**/*.js"],
    ...js.configs.recommended,
    languageOptions: {
      ecmaVersion: 2022,
      sourceType: "module",
      globals: Object.fromEntries(BROWSER.map((name) => [name, "readonly"])),
    },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      ...js.configs.recommended.rules,
      eqeqeq: "error",
      "no-eval": "error",
      "no-implied-eval": "error",
      "no-new-func": "error",
      "no-script-url": "error",
      "no-shadow": "error",
      "no-use-before-define": ["error", { functions: false, variables: false }],
      "no-var": "error",
      "prefer-const": "error",
      // Text of peers becomes text: never markup, and never more than that.
      "no-restricted-properties": ["error",
        ...["innerHTML", "outerHTML", "insertAdjacentHTML"].map((property) => ({ property })),
        { object: "document", property: "write" },
      ],
    },
  },
  {
    files: ["**/*.html"],
    ...html.configs["flat/recommended"],
    rules: {
      ...html.configs["flat/recommended"].rules,
      "@html-eslint/element-newline": "off",
      "@html-eslint/indent": "off",
      // Without a list of profiles their names are typed.
      "@html-eslint/use-baseline": "off",
      "@html-eslint/require-closing-tags": "off",
      "@html-eslint/attrs-newline": "off",
      "@html-eslint/no-inline-styles": "error",
      "@html-eslint/no-target-blank": "error",
      "@html-eslint/require-meta-viewport": "error",
    },
  },
];
