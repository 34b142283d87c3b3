// Runs with an official TypeScript client: `node client.mjs PACKAGE`, in a directory where that package is installed.
// As client.py does, it prints one line of JSON for each check; DAYTONA_API_URL and DAYTONA_API_KEY are all it is told.
import { createRequire } from 'node:module'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'

const require = createRequire(pathToFileURL(process.cwd() + '/'))
const { Daytona, Image } = require(process.argv[2])
const client = new Daytona()
const box = await client.create()

function must(holds, seen) {
  if (!holds) throw new Error('not as expected: ' + JSON.stringify(seen))
}

async function raises(name, call) {
  try {
    await call()
  } catch (error) {
    must(error.constructor.name === name, error.constructor.name + ': ' + error.message)
    return
  }
  throw new Error('nothing was raised')
}

const CHECKS = {
  'lifecycle.create_answers_started': async () => must(box.state === 'started', box.state),
  'process.exec': async () => {
    const ran = await box.process.executeCommand('echo hi; exit 3')
    must(ran.exitCode === 3 && ran.result.trim() === 'hi', ran)
  },
  'process.exec_timeout': async () =>
    raises('DaytonaProcessExecutionTimeoutError', () =>
      box.process.executeCommand('sleep 30', undefined, undefined, 1),
    ),
  'process.code_run': async () => {
    const ran = await box.process.codeRun('print(6 * 7)')
    must(ran.exitCode === 0 && ran.result.trim() === '42', ran)
  },
  'process.code_run_exit_code': async () => {
    const ran = await box.process.codeRun('raise SystemExit(7)')
    must(ran.exitCode === 7, ran)
  },
  'process.javascript': async () => {
    const other = await client.create({ language: 'javascript' })
    const ran = await other.process.codeRun('console.log(1 + 1); process.exit(4)')
    await other.delete()
    must(ran.exitCode === 4 && ran.result.trim() === '2', ran)
  },
  'files.upload_download': async () => {
    await box.fs.uploadFile(Buffer.from([0, 255, 10]), 'a.bin')
    const found = await box.fs.downloadFile('a.bin')
    must(found.equals(Buffer.from([0, 255, 10])), found)
  },
  'files.folder_info_list': async () => {
    await box.fs.createFolder('dir', '755')
    await box.fs.uploadFile(Buffer.from('needle'), 'dir/b.txt')
    const found = await box.fs.listFiles('dir')
    must(found.length === 1 && found[0].name === 'b.txt' && found[0].size === 6, found)
  },
  'files.find_in_files': async () => {
    const found = await box.fs.findFiles('dir', 'needle')
    must(found.length === 1 && found[0].line === 1, found)
  },
  'files.search_by_name': async () => {
    const found = await box.fs.searchFiles('dir', '*.txt')
    must(found.files.length === 1, found)
  },
  'files.replace_in_files': async () => {
    const found = await box.fs.replaceInFiles(['dir/b.txt'], 'needle', 'thread')
    must(found[0].success, found)
    must((await box.fs.downloadFile('dir/b.txt')).toString() === 'thread', found)
  },
  'files.move_and_permissions': async () => {
    await box.fs.moveFiles('dir/b.txt', 'c.txt')
    await box.fs.setFilePermissions('c.txt', { mode: '640' })
    const found = await box.fs.getFileDetails('c.txt')
    must(found.permissions.endsWith('640'), found)
  },
  'process.session_keeps_state': async () => {
    await box.process.createSession('s')
    await box.process.executeSessionCommand('s', { command: 'cd /tmp; export A=1' })
    const ran = await box.process.executeSessionCommand('s', { command: 'pwd; echo $A' })
    must(ran.output.trim() === '/tmp\n1', ran)
  },
  'process.session_async_command_and_logs': async () => {
    const command = 'echo out; sleep 0.3; echo err >&2'
    const begun = await box.process.executeSessionCommand('s', { command, runAsync: true })
    let [out, err] = ['', '']
    await box.process.getSessionCommandLogs('s', begun.cmdId, (text) => (out += text), (text) => (err += text))
    must(out.trim() === 'out' && err.trim() === 'err', [out, err])
    await box.process.deleteSession('s')
  },
  'terminals.pty': async () => {
    let seen = ''
    const onData = (data) => (seen += new TextDecoder().decode(data))
    const handle = await box.process.createPty({ id: 'p', cols: 100, rows: 30, onData })
    await handle.waitForConnection()
    await handle.sendInput('stty size; echo marker-$((40 + 2)); exit 5\n')
    const ended = await handle.wait()
    must(seen.includes('30 100') && seen.includes('marker-42') && ended.exitCode === 5, [seen, ended])
  },
  'interpreter.state_persists': async () => {
    await box.codeInterpreter.runCode('value = 41')
    const ran = await box.codeInterpreter.runCode('print(value + 1)')
    must(ran.stdout.trim() === '42', ran)
  },
  'git.clone_status': async () => {
    const script =
      'git init -q --bare -b main /tmp/o.git; git clone -q /tmp/o.git /tmp/w; cd /tmp/w; git checkout -qB main;' +
      ' git -c user.name=n -c user.email=e@x commit -q --allow-empty -m first; git push -q origin main'
    await box.process.executeCommand(script)
    await box.git.clone('/tmp/o.git', 'work')
    const found = await box.git.status('work')
    must(found.currentBranch === 'main', found)
  },
  'lifecycle.list_and_filter_by_label': async () => {
    await box.setLabels({ only: 'this' })
    const found = []
    for await (const one of await client.list({ labels: { only: 'this' } })) found.push(one.id)
    must(found.length === 1 && found[0] === box.id, found)
  },
  'lifecycle.stop_start_keeps_files': async () => {
    await box.stop()
    must(box.state === 'stopped', box.state)
    await box.start()
    must((await box.fs.downloadFile('c.txt')).toString() === 'thread', box.state)
  },
  'lifecycle.fork': async () => {
    const twin = await box.fork({ name: 'twin-of-typescript' })
    const found = await twin.fs.downloadFile('c.txt')
    await twin.delete()
    must(found.toString() === 'thread', found.toString())
  },
  'settings.preview_link': async () => {
    const found = await box.getPreviewLink(3000)
    must(found.url && found.token, found)
  },
  'settings.ssh_access': async () => {
    const made = await box.createSshAccess(5)
    must((await box.validateSshAccess(made.token)).valid, made)
    await box.revokeSshAccess(made.token)
    must(!(await box.validateSshAccess(made.token)).valid, made)
  },
  'snapshots.volumes': async () => {
    const volume = await client.volume.get('of-typescript', true)
    const volumes = [{ volumeId: volume.id, mountPath: '/home/daytona/v' }]
    const [one, two] = [await client.create({ volumes }), await client.create({ volumes })]
    await one.fs.uploadFile(Buffer.from('shared'), '/home/daytona/v/file')
    const found = await two.fs.downloadFile('/home/daytona/v/file')
    await one.delete()
    await two.delete()
    await client.volume.delete(volume)
    must(found.toString() === 'shared', found.toString())
  },
  'snapshots.create_from_image_with_logs': async () => {
    const image = Image.debianSlim('3.12').runCommands(`echo ${box.id} > /built.txt`)
    const logs = []
    const options = { timeout: 120, onSnapshotCreateLogs: (text) => logs.push(text) }
    const made = await client.create({ image }, options)
    const ran = await made.process.executeCommand('cat /built.txt')
    await made.delete()
    must(ran.result.trim() === box.id, [ran, logs])
  },
  'files.upload_many_and_download_many': async () => {
    const files = [0, 1, 2].map((n) => ({ source: Buffer.from(`text ${n}`), destination: `many/${n}.txt` }))
    await box.fs.uploadFiles(files)
    const wanted = [...files.map((one) => ({ source: one.destination })), { source: 'many/none' }]
    const found = await box.fs.downloadFiles(wanted)
    must(found.slice(0, 3).every((one, n) => one.result.toString() === `text ${n}`), found)
    must(found[3].error, found[3])
  },
  'files.large_file': async () => {
    const data = Buffer.alloc(8 << 20, 'tide')
    await box.fs.uploadFile(data, 'large.bin')
    must((await box.fs.downloadFile('large.bin')).equals(data), 'other bytes')
  },
  'files.stream_download_with_progress': async () => {
    let [size, told] = [0, 0]
    const stream = await box.fs.downloadFileStream('large.bin', { onProgress: () => told++ })
    for await (const piece of stream) size += piece.length
    must(size === 8 << 20 && told > 0, [size, told])
  },
  'files.stream_upload': async () => {
    await box.fs.uploadFileStream(Readable.from([Buffer.alloc(300_000)]), 'up.bin')
    must((await box.fs.getFileDetails('up.bin')).size === 300_000, 'other size')
  },
  'files.delete_folder': async () => {
    await box.fs.uploadFile(Buffer.from('x'), 'tree/inner')
    await box.fs.deleteFile('tree', true)
    await raises('DaytonaFileNotFoundError', () => box.fs.getFileDetails('tree'))
  },
  'files.signed_urls': async () => {
    await box.fs.uploadFile(Buffer.from('signed'), 'signed.txt')
    const found = await (await fetch(await box.downloadUrl('signed.txt'))).text()
    must(found === 'signed', found)
  },
  'process.exec_in_directory_with_environment': async () => {
    const ran = await box.process.executeCommand('pwd; echo $NAME', '/tmp', { NAME: 'va lue' })
    must(ran.result.trim() === '/tmp\nva lue', ran)
  },
  'process.code_run_with_arguments_and_environment': async () => {
    const code = "import os, sys\nprint(sys.argv[1:], os.environ['NAME'])"
    const ran = await box.process.codeRun(code, { argv: ['one', 'two'], env: { NAME: 'value' } })
    must(ran.result.trim() === "['one', 'two'] value", ran)
  },
  'process.a_session_twice_is_a_conflict': async () => {
    await box.process.createSession('twice')
    await raises('DaytonaConflictError', () => box.process.createSession('twice'))
    await box.process.deleteSession('twice')
    must(!(await box.process.listSessions()).some((one) => one.sessionId === 'twice'), 'still listed')
  },
  'process.session_input': async () => {
    await box.process.createSession('input')
    const request = { command: 'read line; echo got $line', runAsync: true }
    const begun = await box.process.executeSessionCommand('input', request)
    await sleep(300)
    await box.process.sendSessionCommandInput('input', begun.cmdId, 'words')
    let found = {}
    for (let n = 0; n < 100 && found.exitCode == null; n++) {
      await sleep(50)
      found = await box.process.getSessionCommand('input', begun.cmdId)
    }
    const logs = await box.process.getSessionCommandLogs('input', begun.cmdId)
    must(found.exitCode === 0 && logs.stdout.includes('got words'), [found, logs])
    await box.process.deleteSession('input')
  },
  'terminals.kill_pty': async () => {
    const handle = await box.process.createPty({ id: 'doomed', onData: () => {} })
    await handle.waitForConnection()
    const resized = await box.process.resizePtySession('doomed', 120, 40)
    must(resized.cols === 120 && resized.rows === 40, resized)
    await box.process.killPtySession('doomed')
    must((await handle.wait()).exitCode === 137, handle.exitCode)
    must(!(await box.process.listPtySessions()).some((one) => one.id === 'doomed'), 'still listed')
  },
  'interpreter.errors_are_told': async () => {
    const { error } = await box.codeInterpreter.runCode('1 / 0')
    must(error.name === 'ZeroDivisionError' && error.traceback.includes('Traceback'), error)
  },
  'interpreter.contexts_are_apart': async () => {
    const context = await box.codeInterpreter.createContext()
    await box.codeInterpreter.runCode('mine = 1', { context })
    const ran = await box.codeInterpreter.runCode('mine')
    must(ran.error.name === 'NameError', ran)
    await box.codeInterpreter.deleteContext(context)
    must(!(await box.codeInterpreter.listContexts()).some((one) => one.id === context.id), 'still listed')
  },
  'interpreter.timeout': async () =>
    raises('DaytonaTimeoutError', () =>
      box.codeInterpreter.runCode('import time; time.sleep(30)', { timeout: 1 }),
    ),
  'git.commit_push_pull': async () => {
    await box.fs.uploadFile(Buffer.from('two'), 'work/b.txt')
    const { fileStatus } = await box.git.status('work')
    must(fileStatus.length === 1 && fileStatus[0].name === 'b.txt', fileStatus)
    await box.git.add('work', ['b.txt'])
    const made = await box.git.commit('work', 'second', 'Somebody', 'some@body')
    must(made.sha.length === 40, made)
    await box.git.push('work')
    await box.git.pull('work')
    const shown = await box.process.executeCommand('git --git-dir /tmp/o.git log --format=%s')
    must(shown.result.trim() === 'second\nfirst', shown)
  },
  'git.no_repository': async () => raises('DaytonaGitRepoNotFoundError', () => box.git.status('/tmp/nothing')),
  'lifecycle.get_by_id_and_name': async () => {
    const made = await client.create({ name: 'by-name-ts', envVars: { A: '1' }, labels: { k: 'v' } })
    await raises('DaytonaConflictError', () => client.create({ name: 'by-name-ts' }))
    const found = await client.get('by-name-ts')
    const ran = await found.process.executeCommand('echo $A')
    await made.delete()
    must(found.id === made.id && found.labels.k === 'v' && ran.result.trim() === '1', [found.labels, ran])
  },
  'lifecycle.intervals': async () => {
    await box.setAutostopInterval(30)
    await box.setAutoArchiveInterval(60)
    await box.setAutoDeleteInterval(90)
    await box.refreshData()
    const found = [box.autoStopInterval, box.autoArchiveInterval, box.autoDeleteInterval]
    must(found.join() === '30,60,90', found)
  },
  'lifecycle.resize': async () => {
    const made = await client.create()
    await made.resize({ cpu: 2, memory: 2 })
    await made.refreshData()
    await made.delete()
    must(made.cpu === 2 && made.memory === 2, [made.cpu, made.memory])
  },
  'lifecycle.archive_and_start_again': async () => {
    const made = await client.create()
    await made.fs.uploadFile(Buffer.from('text'), 'kept.txt')
    await made.stop()
    await raises('DaytonaConflictError', () => made.process.executeCommand('true'))
    await made.archive()
    await made.refreshData()
    must(made.state === 'archived', made.state)
    await made.start()
    const found = await made.fs.downloadFile('kept.txt')
    await made.delete()
    must(found.toString() === 'text', found.toString())
  },
  'lifecycle.directories': async () => {
    const found = [await box.getUserHomeDir(), await box.getWorkDir()]
    must(found.every((one) => one === '/home/daytona'), found)
  },
  'settings.preview': async () => {
    await box.process.executeCommand('mkdir -p www && echo page > www/index.html')
    await box.process.executeCommand('cd www && (python3 -m http.server 3000 >/dev/null 2>&1 &) ; sleep 1.5')
    const link = await box.getPreviewLink(3000)
    const shown = await fetch(link.url, { headers: { 'x-daytona-preview-token': link.token } })
    must((await shown.text()) === 'page\n', shown.status)
    const refused = await fetch(link.url)
    must([401, 403, 404].includes(refused.status), refused.status)
    const signed = await box.getSignedPreviewUrl(3000, 60)
    must((await (await fetch(signed.url)).text()) === 'page\n', signed)
  },
  'settings.environment': async () => {
    await box.updateEnv({ LATER: '1' })
    must((await box.process.executeCommand('echo $LATER')).result.trim() === '1', 'not set')
  },
  'settings.metrics': async () => {
    const found = await box.getMetricsLatest()
    must(found.memTotal > 0, found)
  },
  'snapshots.default_snapshot_is_listed': async () => {
    const found = await client.snapshot.list()
    must(found.items.some((one) => one.state === 'active'), found)
  },
  'snapshots.snapshot_from_image': async () => {
    const image = Image.base('python:3.12-slim').workdir('/srv/work').runCommands('echo x > file')
    const logs = []
    const options = { onLogs: (text) => logs.push(text), timeout: 120 }
    const made = await client.snapshot.create({ name: `made-${box.id.slice(0, 8)}`, image }, options)
    const other = await client.create({ snapshot: made.name })
    const ran = await other.process.executeCommand('pwd; cat file')
    await other.delete()
    await client.snapshot.delete(made)
    must(made.state === 'active' && ran.result.trim() === '/srv/work\nx' && logs.length, [made.state, ran, logs])
  },
  'errors.missing_file': async () =>
    raises('DaytonaFileNotFoundError', () => box.fs.downloadFile('none')),
  'errors.wrong_key': async () =>
    raises('DaytonaAuthenticationError', () => new Daytona({ apiKey: 'wrong' }).create()),
  'snapshots.an_unknown_snapshot': async () =>
    raises('DaytonaValidationError', () => client.create({ snapshot: 'never-made' })),
  'errors.unknown_sandbox': async () => raises('DaytonaNotFoundError', () => client.get('never-made')),
}

for (const [check, run] of Object.entries(CHECKS)) {
  let [outcome, why] = ['passed', '']
  try {
    await run()
  } catch (error) {
    ;[outcome, why] = ['failed', String(error.stack || error).slice(0, 3000)]
  }
  console.log('RESULT ' + JSON.stringify({ check, outcome, why }))
}
await box.delete()
process.exit(0)
