// The linter of the status page's style: make lint-page installs it below build/npm.

export default {
  extends: ["stylelint-config-standard"],
  rules: {
    // The tests of contrast read all colours in one form, and each scheme is one block.
    "color-hex-length": "long",
    "custom-property-empty-line-before": "never",
    // One line for each series of a chart.
    "declaration-block-single-line-max-declarations": 3,
    "declaration-no-important": true,
  },
};
