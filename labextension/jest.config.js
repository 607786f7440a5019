const labConfig = require('@jupyterlab/testing/lib/jest-config');

const { transform, transformIgnorePatterns, ...config } = labConfig(__dirname);

module.exports = {
  ...config,
  reporters: ['default'],
  modulePathIgnorePatterns: ['<rootDir>/jupyterlab_interlink', '<rootDir>/lib'],
  fakeTimers: { enableGlobally: true },
  testRegex: 'src/__tests__/.*\\.spec\\.tsx?$',
  transform: {
    ...transform,
    // Types are checked by `jlpm lint:check`, once for all files.
    '^.+\\.tsx?$': ['ts-jest/legacy', { tsconfig: 'tsconfig.test.json' }]
  },
  // JupyterLab's packages are ES modules, which Jest does not read as they are.
  transformIgnorePatterns: transformIgnorePatterns.map(pattern =>
    pattern.replace('(?!', '(?!@jupyterlab/(?!testing)|')
  )
};
