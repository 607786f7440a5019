import jupyter from '@jupyter/eslint-plugin';
import tseslint from 'typescript-eslint';

export default [
  ...tseslint.config({
    files: ['src/**/*.{ts,tsx}'],
    extends: [tseslint.configs.recommendedTypeChecked],
    languageOptions: { parserOptions: { project: 'tsconfig.test.json' } },
    rules: {
      '@typescript-eslint/no-namespace': 'off', // CommandIDs, as in JupyterLab
      '@typescript-eslint/no-redeclare': 'off' // a token has its interface's name
    }
  }),
  { plugins: { jupyter } },
  ...jupyter.configs.recommended,
  { rules: { 'jupyter/prefer-lazy-imports': 'off' } }, // all is shown at start
  { ignores: ['jupyterlab_interlink/', 'lib/', '*.js', 'style/'] }
];
