@echo off
rem Starts everything, from Windows: Lumbre forks its replicas, which needs Linux, so it runs in WSL 2.
rem usage: deploy\scripts\start_all.bat [options of `lumbre up`, such as --port 8081]
where wsl.exe >nul 2>nul || (
    echo Lumbre needs Linux: install WSL 2 with "wsl --install", and inside it Python 3.11, its venv module and make. 1>&2
    exit /b 1
)
pushd "%~dp0..\.."
wsl.exe --exec sh deploy/scripts/start_all.sh %*
set status=%errorlevel%
popd
exit /b %status%
