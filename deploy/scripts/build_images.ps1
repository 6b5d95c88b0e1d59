# Builds Lumbre's images with docker or podman, from Windows; build_images.sh tells the options.
# usage: deploy\scripts\build_images.ps1 [gateway] [cpu] [cuda] [options, such as --push]
$ErrorActionPreference = 'Stop'
if (-not (Get-Command wsl.exe -ErrorAction SilentlyContinue)) {
    Write-Error 'This runs in WSL 2: install it with "wsl --install", and inside it docker or podman (Docker Desktop: turn on its WSL integration).'
}
Push-Location (Join-Path $PSScriptRoot '..\..')
try {
    wsl.exe --exec sh deploy/scripts/build_images.sh @args
    exit $LASTEXITCODE
}
finally {
    Pop-Location
}
