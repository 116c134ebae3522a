// Calls of the official Node.js client, as many as stand in a JSON text on standard input, in turn; the
// answers as one on standard output.
'use strict'

const fs = require('fs')
const QcloudApi = require('qcloudapi-sdk')

const wanted = JSON.parse(fs.readFileSync(0, 'utf8'))
const client = new QcloudApi(wanted.client)
// The client itself does not ask for the certificate to be checked.
const extra = { strictSSL: true, ca: fs.readFileSync(wanted.certificate) }

function call(data) {
  return new Promise((resolve, reject) => {
    client.request(data, { host: wanted.host }, (error, body) => (error ? reject(error) : resolve(body)), extra)
  })
}

async function main() {
  const answers = []
  for (const data of wanted.calls) answers.push(await call(data))
  process.stdout.write(JSON.stringify(answers))
}

main().catch((error) => {
  console.error(error)
  process.exitCode = 1
})
