# The demonstration, from Windows: Lumbre forks its replicas, which needs Linux, so it runs in WSL 2.
# usage: deploy\scripts\run_demo.ps1 [options of `lumbre demo`, such as --seconds 30]
$ErrorActionPreference = 'Stop'
if (-not (Get-Command wsl.exe -ErrorAction SilentlyContinue)) {
    Write-Error 'Lumbre needs Linux: install WSL 2 with "wsl --install", and inside it Python 3.11, its venv module and make.'
}
Push-Location (Join-Path $PSScriptRoot '..\..')
try {
    wsl.exe --exec sh deploy/scripts/run_demo.sh @args
    exit $LASTEXITCODE
}
finally {
    Pop-Location
}
