// The log-in form. MLflow's page keeps where one is behind the #, which no server is told: take it along.
const next = document.querySelector('input[name="next"]');
if (next && location.hash && !next.value.includes("#")) next.value += location.hash;
const other = document.querySelector('a[href*="/login/start?next="]');
if (other && location.hash) other.href += encodeURIComponent(location.hash);
